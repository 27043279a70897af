"""InternVL in the form of its authors' own class, as ArtiMuse and UniPercept are published (Zhu et al., 2025)."""
