"""Talks with `shira chat` through a pseudo-terminal: editing, history, completion, switching, Ctrl-C, Ctrl-D; and the other
commands that care for a terminal.

usage: chat_terminal_test.py SHIRA FAKE_SERVER
"""

import os
import pathlib
import pty
import re
import select
import signal
import subprocess
import sys
import tempfile
import termios
import time
import unittest

from terminals import has_terminals

SHIRA, FAKE_SERVER = sys.argv[1:3]
TIMEOUT = 20


class Terminal:
    """A program on a pseudo-terminal of its own."""

    def __init__(self, arguments, environment):
        self.text = ""
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execve(arguments[0], arguments, environment)

    def expect(self, text):
        """Reads until `text` appears, and returns what came up to its end, without escapes."""
        deadline = time.monotonic() + TIMEOUT
        while text not in self.text:
            ready, _, _ = select.select([self.fd], [], [], deadline - time.monotonic())
            if not ready:
                raise AssertionError(f"no {text!r} in {self.text!r}")
            try:
                chunk = os.read(self.fd, 4096)
            except OSError:
                chunk = b""
            if not chunk:
                raise AssertionError(f"the end, and no {text!r} in {self.text!r}")
            self.text += re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", chunk.decode(errors="replace"))
        end = self.text.index(text) + len(text)
        seen, self.text = self.text[:end], self.text[end:]
        return seen

    def send(self, text):
        os.write(self.fd, text.encode())

    def finish(self):
        """The rest of the output, and the exit code."""
        output = b""
        deadline = time.monotonic() + TIMEOUT
        try:
            while select.select([self.fd], [], [], max(0, deadline - time.monotonic()))[0]:
                chunk = os.read(self.fd, 4096)
                if not chunk:
                    break
                output += chunk
            else:
                os.kill(self.pid, signal.SIGKILL)
                raise AssertionError(f"it does not end after {output!r}")
        except OSError:  # A terminal ends so.
            pass
        os.close(self.fd)
        return output, os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


@unittest.skipUnless(has_terminals(), "this machine has no pseudo-terminals (/dev/pts)")
class ChatTerminalTest(unittest.TestCase):
    def setUp(self):
        self.server = subprocess.Popen(
            [FAKE_SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.address = f"127.0.0.1:{int(self.server.stdout.readline())}"
        load = [SHIRA, "--server", self.address, "adapter", "load", "pirate", "/adapters/pirate"]
        subprocess.run(load, check=True, capture_output=True)

    def tearDown(self):
        self.server.stdin.close()
        self.server.wait()
        self.server.stdout.close()

    def chat(self, *arguments, **environment):
        terminal = Terminal([SHIRA, "chat", "--server", self.address, *arguments],
                            {"TERM": "xterm", "LC_ALL": "C", **environment})
        terminal.expect("Ctrl-D ends.")
        terminal.expect("> ")
        return terminal

    def test_answers_with_figures_and_ends_at_ctrl_d(self):
        terminal = self.chat()
        terminal.send("Hi\n")
        terminal.expect("You said: Hi\r\n")
        terminal.expect("[base; 2 + 12 tokens, stop;")
        terminal.expect("> ")
        terminal.send("\x04")
        self.assertEqual(terminal.finish()[1], 0)

    def test_passes_utf8_through_in_any_locale(self):
        terminal = self.chat()
        terminal.send("grüße 🏴\n")
        terminal.expect("You said: grüße 🏴\r\n")

    def test_edits_lines_and_remembers_them(self):
        terminal = self.chat()
        terminal.send("Hx\x7fi\n")
        terminal.expect("You said: Hi\r\n")
        terminal.expect("> ")
        terminal.send("\x1b[A\n")
        terminal.expect("You said: Hi\r\n")

    def test_remembers_lines_from_one_chat_to_the_next(self):
        home = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        history = home / ".local/state/shira/history"
        terminal = self.chat(HOME=str(home))
        terminal.send("grüße\n")
        terminal.expect("You said: grüße\r\n")
        terminal.send("/quit\n")
        self.assertEqual(terminal.finish()[1], 0)
        self.assertEqual(history.read_text(), "grüße\n/quit\n")
        self.assertEqual(history.stat().st_mode & 0o777, 0o600)
        self.assertEqual(history.parent.stat().st_mode & 0o777, 0o700)
        terminal = self.chat(HOME=str(home))
        terminal.send("\x1b[A\x1b[A\n")
        terminal.expect("You said: grüße\r\n")
        for arguments, environment in ((["--no-history"], {}), ([], {"SHIRA_HISTORY": ""})):
            before = history.read_text()
            terminal = self.chat(*arguments, HOME=str(home), **environment)
            terminal.send("secret\n")
            terminal.expect("You said: secret\r\n")
            terminal.send("/quit\n")
            terminal.finish()
            self.assertEqual(history.read_text(), before)

    def test_a_history_that_cannot_be_kept_stops_nobody(self):
        terminal = Terminal([SHIRA, "chat", "--server", self.address], {"TERM": "xterm", "SHIRA_HISTORY": "/dev/null/x"})
        terminal.expect("What you type is not kept: ")
        terminal.send("Hi\n")
        terminal.expect("You said: Hi\r\n")

    def test_completes_commands_names_and_settings(self):
        subprocess.run([SHIRA, "--server", self.address, "adapter", "load", "parrot", "/adapters/parrot"],
                       check=True, capture_output=True)
        terminal = self.chat()
        terminal.send("/ada\t\t")  # What both have in common, and then both.
        terminal.expect("/adapter  /adapters\r\n")
        terminal.send(" pi\t")
        terminal.expect("rate ")
        terminal.send("\n")
        terminal.expect("Answers come from pirate.")
        terminal.send("/adapter p\t")
        terminal.expect("parrot  pirate\r\n")
        terminal.send("a\t\n")
        terminal.expect("Answers come from parrot.")
        terminal.send("/set temp\t0.5\n")
        terminal.expect("temperature is 0.5 from now on.")
        # Elsewhere it is a character.
        terminal.send("a\tb\n")
        terminal.expect("You said: a\tb\r\n")

    def test_lists_adapters(self):
        terminal = self.chat("--adapter", "pirate")
        terminal.send("/adapters\n")
        terminal.expect("*  pirate")

    def test_switches_in_the_middle_of_a_conversation(self):
        terminal = self.chat()
        terminal.send("/adapter pirate:0.5\n")
        terminal.expect("Answers come from pirate (weight 0.5).")
        terminal.send("Hi\n")
        terminal.expect("[pirate v1 (weight 0.5); ")
        terminal.send("/base\n")
        terminal.expect("Answers come from the base model.")
        terminal.send("Hi\n")
        terminal.expect("[base; ")
        terminal.send("/quit\n")
        self.assertEqual(terminal.finish()[1], 0)

    def test_goes_on_after_an_error(self):
        terminal = self.chat("--adapter", "pirate")
        terminal.send("/adapter nobody\n")
        terminal.expect("NOT_FOUND: No adapter 'nobody'")
        terminal.send("busy\n")
        terminal.expect("[QUEUE_FULL] (try again in 2.00 s)")
        terminal.send("Hi\n")
        terminal.expect("[pirate v1; ")

    def test_ctrl_c_stops_the_answer_and_not_the_program(self):
        terminal = self.chat()
        terminal.send("forever\n")
        terminal.expect("la la la")
        terminal.send("\x03")
        terminal.expect("> ")
        terminal.send("Hi\n")
        terminal.expect("You said: Hi\r\n")

    def test_ctrl_c_at_the_prompt_forgets_the_line(self):
        terminal = self.chat()
        terminal.send("wrong")
        terminal.expect("wrong")
        terminal.send("\x03")
        terminal.expect("^C")
        terminal.expect("> ")
        terminal.send("Hi\n")
        self.assertNotIn("wrong", terminal.expect("You said: Hi\r\n"))

    def test_colours_stay_away_when_told_to(self):
        for environment, dim in (({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)):
            terminal = Terminal([SHIRA, "generate", "--prompt", "Hi", "--server", self.address],
                                {"TERM": "xterm", **environment})
            output, exit_code = terminal.finish()
            self.assertEqual(exit_code, 0)
            self.assertIn(b"[base; 2 + 12 tokens", output)
            self.assertEqual(b"\x1b[2m" in output, dim)

    def test_q_leaves_top_and_the_terminal_is_as_before(self):
        for end in ("q", "\x03"):
            terminal = Terminal([SHIRA, "top", "--server", self.address, "--interval", "60"], {"TERM": "xterm"})
            before = termios.tcgetattr(terminal.fd)
            terminal.expect("q leaves.")
            self.assertFalse(termios.tcgetattr(terminal.fd)[3] & (termios.ICANON | termios.ECHO))
            terminal.send("x" + end)
            deadline = time.monotonic() + TIMEOUT
            while termios.tcgetattr(terminal.fd) != before:
                self.assertLess(time.monotonic(), deadline)
                time.sleep(0.01)
            self.assertEqual(terminal.finish()[1], 0)

    def test_a_signal_that_ends_top_leaves_the_terminal_as_before(self):
        terminal = Terminal([SHIRA, "top", "--server", self.address, "--interval", "60"], {"TERM": "xterm"})
        before = termios.tcgetattr(terminal.fd)
        terminal.expect("q leaves.")
        attributes = os.dup(terminal.fd)
        os.kill(terminal.pid, signal.SIGTERM)
        self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(terminal.pid, 0)[1]), -signal.SIGTERM)
        self.assertEqual(termios.tcgetattr(attributes), before)
        os.close(attributes)
        os.close(terminal.fd)

    def test_asks_for_a_prompt_that_nobody_gives(self):
        terminal = Terminal([SHIRA, "generate", "--server", self.address], {"TERM": "xterm"})
        terminal.expect("no prompt: give it in quotes, or pipe it into standard input")
        self.assertEqual(terminal.finish()[1], 2)

    def test_shows_progress_while_it_waits(self):
        terminal = Terminal([SHIRA, "model", "--server", "127.0.0.1:1", "--connect-timeout", "3"],
                            {"TERM": "xterm"})
        terminal.expect("Waiting for the server at 127.0.0.1:1… ")
        terminal.expect("error: UNAVAILABLE")
        self.assertEqual(terminal.finish()[1], 3)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
