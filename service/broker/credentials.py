"""Credentials of a connection to the store or to a sentinel: user, password, certificates. As the driver takes them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import SecretStr
from redis import exceptions
from redis.credentials import CredentialProvider

from service.settings import StoreSettings


@dataclass(frozen=True, slots=True)
class FileCredentials(CredentialProvider):
    """The password as the file has it when a connection is made. The driver calls it for each."""

    username: str | None
    file: Path

    def get_credentials(self) -> tuple[str] | tuple[str, str]:
        try:
            password = self.file.read_text(encoding="utf-8").rstrip("\r\n")
        except (OSError, UnicodeDecodeError):
            raise exceptions.AuthenticationError("store.password_file cannot be read as text") from None
        return (self.username, password) if self.username else (password,)

    async def get_credentials_async(self) -> tuple[str] | tuple[str, str]:
        return self.get_credentials()  # a file of a few bytes


def store_credentials(settings: StoreSettings) -> dict[str, Any]:
    return _credentials(settings.username, settings.password, settings.password_file)


def sentinel_credentials(settings: StoreSettings) -> dict[str, Any]:
    return _credentials(settings.sentinel_username, settings.sentinel_password, settings.sentinel_password_file)


def _credentials(username: str | None, secret: SecretStr | None, file: Path | None) -> dict[str, Any]:
    if file is not None:
        return {"credential_provider": FileCredentials(username, file)}
    given = {"username": username, "password": secret.get_secret_value() if secret else None}
    return {key: value for key, value in given.items() if value is not None}


def tls_files(settings: StoreSettings) -> dict[str, Any]:
    files = {
        "ssl_ca_certs": settings.tls_ca_file,
        "ssl_certfile": settings.tls_cert_file,
        "ssl_keyfile": settings.tls_key_file,
    }
    return {name: str(file) for name, file in files.items() if file is not None}
