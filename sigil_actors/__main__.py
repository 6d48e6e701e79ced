"""Makes `python -m sigil_actors` the command line."""

from sigil_actors.cli.main import main

if __name__ == "__main__":
    main()
