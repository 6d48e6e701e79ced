"""The program that confines a plugin inside its sandbox once more, by Landlock."""
