kills = races = one_byte = None
