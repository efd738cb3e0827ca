"""Set-up, login, logout, accounts. Passwords are hashed in a thread, one at a time; every login is on the record."""

import asyncio
from collections.abc import Mapping
from typing import Any

from pen_controller.clinic.access import COOKIE
from pen_controller.clinic.accounts import Account, AccountError, Role, Settings
from pen_controller.clinic.laptop import ForbiddenError, Laptop, Request
from pen_controller.clinic.people import Who
from pen_controller.clinic.requests import Asked, Credentials, NewAccount, PasswordAsked, RoleAsked


class LoginError(Exception):
    """Name and password do not belong together, or a login is needed."""


def cookie_of(value: str) -> str:
    """The header that sets the cookie. No `Secure`: this machine is spoken to without TLS."""
    return f"{COOKIE}={value}; HttpOnly; SameSite=Strict; Path=/"


async def set_up(request: Request, asked: NewAccount) -> Mapping[str, Any]:
    """Make the first account, a clinician's, and log in."""
    if asked.role is not Role.CLINICIAN:
        raise AccountError("role: the first account is a clinician's, who then makes the others")
    laptop = request.laptop
    async with laptop.hashing:
        account = await asyncio.to_thread(laptop.accounts.add, asked.account, asked.role, asked.password, first=True)
    await laptop.log("account", {"account": account.name, "role": account.role, "by": account.name})
    return await _let_in(request, Who(account.name, account.role))


async def add_account(request: Request, asked: NewAccount) -> Mapping[str, Any]:
    """Make another account."""
    laptop = request.laptop
    async with laptop.hashing:
        account = await asyncio.to_thread(laptop.accounts.add, asked.account, asked.role, asked.password)
    await laptop.log("account", {"account": account.name, "role": account.role, "by": request.name})
    return {}


async def set_role(request: Request, asked: RoleAsked) -> Mapping[str, Any]:
    """Give another account another role; wherever it is logged in it has to log in again.

    Nobody takes the own role away: so a clinician is left.
    """
    laptop = request.laptop
    if asked.account == request.name:
        raise AccountError("role: another clinician changes yours")
    await asyncio.to_thread(laptop.accounts.set_role, asked.account, asked.role)
    laptop.keys.put_out(asked.account, but=request.screen)
    await laptop.log("account", {"account": asked.account, "role": asked.role, "by": request.name})
    return {}


async def set_password(request: Request, asked: PasswordAsked) -> Mapping[str, Any]:
    """Change the own password, or as a clinician anybody's; wherever else it was in use it has to be typed anew."""
    laptop = request.laptop
    if asked.account != request.name and not (request.who and request.who.role is Role.CLINICIAN):
        raise ForbiddenError("only a clinician changes the password of another")
    await _known(laptop, request.name, asked.own)
    async with laptop.hashing:
        await asyncio.to_thread(laptop.accounts.set_password, asked.account, asked.password)
    laptop.keys.put_out(asked.account, but=request.screen)
    await laptop.log("password", {"account": asked.account, "by": request.name})
    return {}


async def log_in(request: Request, asked: Credentials) -> Mapping[str, Any]:
    """Log in; the cookie is another from now on."""
    account = await _known(request.laptop, asked.account, asked.password)
    return await _let_in(request, Who(account.name, account.role))


async def _known(laptop: Laptop, name: str, password: str) -> Account:
    """The account, if the password is its own. Raises `LoginError`, `ThrottledError`."""
    known = laptop.accounts.get(name) is not None
    counted = name if known else ""
    laptop.throttle.check(counted)
    async with laptop.hashing:
        account = await asyncio.to_thread(laptop.accounts.check, name, password)
    if account is None:
        laptop.throttle.fail(counted)
        # What is typed for a name may be a password.
        await laptop.log("login_failed", {"account": name if known else None})
        raise LoginError("account or password is wrong")
    laptop.throttle.succeed(account.name)
    return account


async def _let_in(request: Request, who: Who) -> Mapping[str, Any]:
    laptop = request.laptop
    await laptop.log("login", {"account": who.name, "role": who.role})
    await laptop.desk.sign_in(who)
    request.cookies.append(cookie_of(laptop.keys.log_in(request.screen, who.name, who.role)))
    return {"account": who.name, "role": who.role}


async def log_out(request: Request, _: Asked) -> Mapping[str, Any]:
    """Log out. Where this page operates running needles, they stop with it."""
    laptop = request.laptop
    if request.who is not None:
        await laptop.log("logout", {"account": request.who.name})
    request.cookies.append(cookie_of(laptop.keys.log_out(request.screen)))
    return {}


async def settle(request: Request, asked: Settings) -> Mapping[str, Any]:
    """Keep how an account likes its screen."""
    if request.who is not None:
        await asyncio.to_thread(request.laptop.accounts.settle, request.who.name, asked)
        request.laptop.desk.changed()
    return {}
