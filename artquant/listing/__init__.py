"""Collections of pictures, whatever they come in: files, folders, patterns, lists, tables, archives."""
