"""HTML pages that are one file: elements whose texts are escaped, charts as inline SVG, small pictures, the style."""
