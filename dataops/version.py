"""The version of this release; a module of its own, since whoever imports the package's root imports all of it."""

VERSION = "0.1.0"
