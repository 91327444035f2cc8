"""Tests of the pages in real browsers; a package, for fixtures that last as long as its tests."""
