#include "tests/client/cli/cli_process.h"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstdlib>
#include <string>
#include <vector>

namespace shira::testing {
namespace {

struct Pipe {
  Pipe() {
    if (pipe2(ends.data(), O_CLOEXEC) != 0) std::abort();
  }
  std::array<int, 2> ends;
};

std::vector<char*> Pointers(std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  for (std::string& text : texts) pointers.push_back(text.data());
  pointers.push_back(nullptr);
  return pointers;
}

void Close(int& fd) {
  if (fd >= 0) close(fd);
  fd = -1;
}

// Appends what can be read now; false at the end.
bool ReadSome(int fd, std::string& text) {
  std::array<char, 4096> buffer;
  const ssize_t count = read(fd, buffer.data(), buffer.size());
  if (count > 0) text.append(buffer.data(), count);
  return count > 0;
}

}  // namespace

CliProcess::CliProcess(const std::vector<std::string>& arguments,
                       const std::vector<std::string>& environment) {
  std::vector<std::string> argument_texts = {SHIRA_CLI};
  argument_texts.insert(argument_texts.end(), arguments.begin(), arguments.end());
  std::vector<std::string> environment_texts = {"PATH=/usr/bin:/bin"};
  environment_texts.insert(environment_texts.end(), environment.begin(), environment.end());

  const Pipe in;
  const Pipe out;
  const Pipe err;
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, in.ends[0], STDIN_FILENO);
  posix_spawn_file_actions_adddup2(&actions, out.ends[1], STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, err.ends[1], STDERR_FILENO);
  if (posix_spawn(&pid_, SHIRA_CLI, &actions, nullptr, Pointers(argument_texts).data(),
                  Pointers(environment_texts).data()) != 0) {
    std::abort();
  }
  posix_spawn_file_actions_destroy(&actions);
  close(in.ends[0]);
  close(out.ends[1]);
  close(err.ends[1]);
  in_ = in.ends[1];
  out_ = out.ends[0];
  err_ = err.ends[0];
}

CliProcess::~CliProcess() {
  if (pid_ > 0) {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  Close(in_);
  Close(out_);
  Close(err_);
}

void CliProcess::WriteInput(const std::string& text) {
  // The inputs of tests fit into a pipe.
  if (write(in_, text.data(), text.size()) != static_cast<ssize_t>(text.size())) std::abort();
}

void CliProcess::CloseInput() { Close(in_); }
void CliProcess::CloseOutput() { Close(out_); }

bool CliProcess::ReadOutputUntil(const std::string& text) {
  while (result_.out.find(text) == std::string::npos) {
    if (!ReadSome(out_, result_.out)) return false;
  }
  return true;
}

void CliProcess::Interrupt() { kill(pid_, SIGINT); }

CliResult CliProcess::Finish() {
  CloseInput();
  while (out_ >= 0 || err_ >= 0) {
    std::array<pollfd, 2> fds = {pollfd{out_, POLLIN, 0}, pollfd{err_, POLLIN, 0}};
    poll(fds.data(), fds.size(), -1);
    if (fds[0].revents != 0 && !ReadSome(out_, result_.out)) Close(out_);
    if (fds[1].revents != 0 && !ReadSome(err_, result_.err)) Close(err_);
  }
  int status = 0;
  waitpid(pid_, &status, 0);
  pid_ = -1;
  result_.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return result_;
}

CliResult RunCli(const std::vector<std::string>& arguments, const std::string& input,
                 const std::vector<std::string>& environment) {
  CliProcess process(arguments, environment);
  if (!input.empty()) process.WriteInput(input);
  return process.Finish();
}

}  // namespace shira::testing
