"""Which token is meant, and the one login to it."""

from __future__ import annotations

import ctypes
from typing import Any, Final

import PyKCS11

from bulk_import.token.refused import Refused, of_login

_CKF_OS_LOCKING_OK: Final = 2


class Token:
    """One token: found by its constructor, usable after `login`."""

    def __init__(self, module: str, init_args: str | None, token: dict[str, str]) -> None:
        """Raises Refused where the module cannot be used, or not exactly one token matches."""
        if init_args is not None:
            _initialize(module, init_args)
        self.library = PyKCS11.PyKCS11Lib()
        try:
            self.library.load(module)
        except PyKCS11.PyKCS11Error as error:
            advice = "Check --pkcs11-module and the configuration that the library reads; NSS needs --pkcs11-init-args."
            raise Refused("SourceFailed", f"the PKCS#11 module cannot be loaded: {error}", advice) from error
        self.slot, self.identity = self._found(token)
        self.mechanisms = set(self.library.getMechanismList(self.slot))
        self.session: Any = None

    def login(self, pin: str) -> None:
        """Raises Refused. At most one attempt, and none where one wrong PIN would lock the token."""
        info = self.library.getTokenInfo(self.slot)
        if info.flags & PyKCS11.CKF_USER_PIN_LOCKED:
            raise of_login(PyKCS11.PyKCS11Error(PyKCS11.CKR_PIN_LOCKED))
        if info.flags & PyKCS11.CKF_USER_PIN_FINAL_TRY:
            raise Refused(
                "SourceDenied", "one more wrong PIN would lock the token, so no login was attempted",
                "Log in once with the right PIN and another tool: that resets the token's counter.",
            )  # fmt: skip
        self.session = self.library.openSession(self.slot)
        if not info.flags & PyKCS11.CKF_LOGIN_REQUIRED:
            return
        try:
            self.session.login(pin)
        except PyKCS11.PyKCS11Error as error:
            if error.value != PyKCS11.CKR_USER_ALREADY_LOGGED_IN:
                raise of_login(error) from error

    def largest_rsa(self) -> int:
        """Bits of the largest RSA key that the token wraps under; 0: it does not say."""
        try:
            info = self.library.getMechanismInfo(self.slot, "CKM_RSA_PKCS_OAEP")
        except PyKCS11.PyKCS11Error:
            return 0
        # Some vendors count bytes here, and some say nothing useful: what is no size of an RSA key is ignored.
        return int(info.ulMaxKeySize) if 1024 <= info.ulMaxKeySize <= 65536 else 0

    def _found(self, wanted: dict[str, str]) -> tuple[Any, dict[str, str]]:
        matching, names = [], []
        for slot in self.library.getSlotList(tokenPresent=True):
            info = self.library.getTokenInfo(slot)
            known = {
                "token": info.label, "manufacturer": info.manufacturerID, "model": info.model,
                "serial": info.serialNumber,
            }  # fmt: skip
            known = {name: str(value).strip(" \0") for name, value in known.items()} | {"slot-id": str(slot)}
            if known["token"]:
                names.append(known["token"])
            if all(known.get(name) == value for name, value in wanted.items()) and known["token"]:
                matching.append((slot, known))
        if len(matching) != 1:
            what = "no token matches" if not matching else f"{len(matching)} tokens match"
            advice = (
                "Connect the token, or correct token=, serial=, model= or manufacturer= in the URI, and the "
                "configuration that the module reads."
            )
            raise Refused("MaterialNotFound", f"{what}; the module has: {', '.join(names) or 'none'}", advice)
        return matching[0]


class _InitializeArgs(ctypes.Structure):
    """CK_C_INITIALIZE_ARGS, whose last member is reserved: NSS's library reads a text there."""

    _fields_ = (
        ("mutexes", ctypes.c_void_p * 4), ("flags", ctypes.c_ulong), ("reserved", ctypes.c_char_p),
        ("more", ctypes.c_void_p),
    )  # fmt: skip


class _Functions(ctypes.Structure):
    """The beginning of CK_FUNCTION_LIST."""

    _fields_ = (
        ("version", ctypes.c_ubyte * 2),
        ("initialize", ctypes.CFUNCTYPE(ctypes.c_ulong, ctypes.POINTER(_InitializeArgs))),
    )


def _initialize(module: str, init_args: str) -> None:
    """C_Initialize with a text in pReserved. PyKCS11, which passes none, finds the library initialized then.

    Raises Refused.
    """
    functions = ctypes.POINTER(_Functions)()
    try:
        result = ctypes.CDLL(module).C_GetFunctionList(ctypes.byref(functions))
    except (OSError, AttributeError) as missing:
        message = f"the PKCS#11 module cannot be loaded: {missing}"
        raise Refused("SourceFailed", message, "Check --pkcs11-module.") from missing
    if result == PyKCS11.CKR_OK:
        arguments = _InitializeArgs(flags=_CKF_OS_LOCKING_OK, reserved=init_args.encode())
        result = functions.contents.initialize(ctypes.byref(arguments))
    if result != PyKCS11.CKR_OK:
        message = f"the PKCS#11 module cannot be initialized: {PyKCS11.PyKCS11Error(result)}"
        raise Refused("SourceFailed", message, "Check --pkcs11-init-args.")
