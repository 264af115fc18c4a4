"""Form fields that configurations share."""

from wtforms import PasswordField


class SecretField(PasswordField):
    """A secret: never echoed; left blank, the stored one stays."""

    def process_formdata(self, valuelist: list[str]) -> None:
        """Take what was typed, and keep the present value when nothing was."""
        if valuelist and valuelist[0]:
            self.data = valuelist[0]
