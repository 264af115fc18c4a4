"""The command `dbackup`, also as `python -m webapp`."""

import gc


def main() -> None:
    """Import everything, then run the command line."""
    gc.disable()  # imports make what lives on; looking through it takes 15 % of every start
    from webapp.server import main as run

    gc.enable()
    run()


if __name__ == "__main__":
    main()
