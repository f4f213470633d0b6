"""`python -m gan_modules` is `gan-modules`."""

from gan_modules.cli import main

if __name__ == "__main__":
    main()
