"""Set-up, login and logout. Passwords are hashed in a thread, one at a time, and every login is on the record."""

import asyncio
from collections.abc import Mapping
from typing import Any

from pen_controller.clinic.access import COOKIE
from pen_controller.clinic.accounts import AccountError, Role, Settings
from pen_controller.clinic.laptop import Request
from pen_controller.clinic.people import Who
from pen_controller.clinic.requests import Asked, Credentials, NewAccount


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
    by = request.who.name if request.who else account.name
    await laptop.log("account", {"account": account.name, "role": account.role, "by": by})
    return {}


async def log_in(request: Request, asked: Credentials) -> Mapping[str, Any]:
    """Log in; the cookie is another from now on."""
    laptop = request.laptop
    known = laptop.accounts.get(asked.account) is not None
    laptop.throttle.check(asked.account if known else "")
    async with laptop.hashing:
        account = await asyncio.to_thread(laptop.accounts.check, asked.account, asked.password)
    if account is None:
        # What is typed for a name may be a password.
        await laptop.log("login_failed", {"account": asked.account if known else None})
        raise LoginError("account or password is wrong")
    laptop.throttle.succeed(account.name)
    return await _let_in(request, Who(account.name, account.role))


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
