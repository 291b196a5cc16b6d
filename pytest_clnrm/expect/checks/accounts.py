"""Users and groups, as /etc/passwd and /etc/group of a container name them; see passwd(5) and group(5)."""

from __future__ import annotations

from dataclasses import dataclass

_USER_FIELDS = 7
_GROUP_FIELDS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """A line of /etc/passwd."""

    name: str
    uid: int
    gid: int
    home: str
    shell: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """A line of /etc/group."""

    name: str
    gid: int
    members: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Accounts:
    """The users and groups of a container."""

    users: tuple[User, ...] = ()
    groups: tuple[Group, ...] = ()

    def user(self, name: str) -> User | None:
        """Return the user of a name."""
        return next((each for each in self.users if each.name == name), None)

    def uid_of(self, name: str) -> int | None:
        """Return the number of a user, which may be given as a number; None if there is no such user."""
        found = self.user(name)
        return found.uid if found else _number(name)

    def gid_of(self, name: str) -> int | None:
        """Return the number of a group, which may be given as a number; None if there is no such group."""
        found = next((each.gid for each in self.groups if each.name == name), None)
        return _number(name) if found is None else found

    def user_text(self, uid: int) -> str:
        """Return a user as ``app (1000)``, or the number alone where it has no name."""
        return _text(uid, next((each.name for each in self.users if each.uid == uid), ""))

    def group_text(self, gid: int) -> str:
        """Return a group as ``app (1000)``, or the number alone where it has no name."""
        return _text(gid, next((each.name for each in self.groups if each.gid == gid), ""))


def read_accounts(passwd: str, group: str) -> Accounts:
    """Return the accounts in the texts of the two files; a line that is none is passed over, as libc does."""
    users = [line.split(":") for line in passwd.split("\n")]
    groups = [line.split(":") for line in group.split("\n")]
    return Accounts(
        users=tuple(
            User(name=each[0], uid=int(each[2]), gid=int(each[3]), home=each[5], shell=each[6])
            for each in users
            if len(each) == _USER_FIELDS and _is_number(each[2]) and _is_number(each[3])
        ),
        groups=tuple(
            Group(name=each[0], gid=int(each[2]), members=tuple(filter(None, each[3].split(","))))
            for each in groups
            if len(each) == _GROUP_FIELDS and _is_number(each[2])
        ),
    )


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal()


def _number(text: str) -> int | None:
    return int(text) if _is_number(text) else None


def _text(number: int, name: str) -> str:
    return f"{name} ({number})" if name else str(number)
