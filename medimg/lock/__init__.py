"""One writer of a folder at a time, and temporary folders that are somebody's: `folder` locks, `scratch` makes."""

from medimg.lock.folder import FILE, Owner, content, empty, locked, require_other, writes
from medimg.lock.scratch import scratch

__all__ = ["FILE", "Owner", "content", "empty", "locked", "require_other", "scratch", "writes"]
