"""What stands in a file's place where Git LFS has not fetched it."""

LFS_POINTER = b"version https://git-lfs.github.com/spec/"
"""How a pointer begins."""
