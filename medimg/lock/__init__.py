"""One writer of a folder at a time, and temporary folders that are somebody's: `folder` locks,
`scratch` makes, and in `turns` one waits for the other."""

from medimg.lock.folder import FILE, Owner, content, empty, locked, locked_file, require_other, writes
from medimg.lock.scratch import scratch
from medimg.lock.turns import in_turn

__all__ = [
    "FILE",
    "Owner",
    "content",
    "empty",
    "in_turn",
    "locked",
    "locked_file",
    "require_other",
    "scratch",
    "writes",
]
