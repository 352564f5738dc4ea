"""Runs parts of Python's own `test` package, and says of each test how it ended, in lines that no two runs differ in.

    python_suite.py NAME ...

A name is a module, a class or a test (`test.test_json.test_decode`). `ctypes` is looked for where this version has it, and
`multiprocessing.NAME` is a class of the multiprocessing tests, whose processes are forked.
"""

import sys
import types
import unittest


class Lines(unittest.TestResult):
    """Notes each test's end."""

    def __init__(self):
        super().__init__()
        self.ends = {}

    def end(self, test, how):
        self.ends[str(test)] = how

    def addSuccess(self, test):
        self.end(test, "ok")

    def addError(self, test, error):
        self.end(test, f"error {error[0].__name__}")

    def addFailure(self, test, error):
        self.end(test, "failed")

    def addSkip(self, test, reason):
        self.end(test, "skipped")

    def addExpectedFailure(self, test, error):
        self.end(test, "failed as expected")

    def addUnexpectedSuccess(self, test):
        self.end(test, "ok, unexpectedly")


def forked_tests():
    """The module that newer versions have as a file."""
    name = "python_suite_fork"
    if name not in sys.modules:
        from test import _test_multiprocessing

        module = types.ModuleType(name)
        _test_multiprocessing.install_tests_in_module_dict(module.__dict__, "fork")
        sys.modules[name] = module
    return sys.modules[name]


def tests(name):
    loader = unittest.TestLoader()
    package, _, rest = name.partition(".")
    if package == "multiprocessing":
        return loader.loadTestsFromName(rest, forked_tests()) if rest else loader.loadTestsFromModule(forked_tests())
    if package == "ctypes" and sys.version_info >= (3, 12):
        name = f"test.test_ctypes.{rest}" if rest else "test.test_ctypes"
    elif package == "ctypes":
        name = f"ctypes.test.{rest}" if rest else "test.test_ctypes"
    return loader.loadTestsFromName(name)


def main():
    result = Lines()
    for name in sys.argv[1:]:
        tests(name).run(result)
    for test, how in sorted(result.ends.items()):
        print(f"{test}: {how}")
    print(f"{len(result.ends)} tests")


if __name__ == "__main__":
    main()
