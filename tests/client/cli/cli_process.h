// File: tests/client/cli/cli_process.h
//
// Runs the CLI as a process, with pipes for its three streams.

#ifndef SHIRA_TESTS_CLIENT_CLI_CLI_PROCESS_H_
#define SHIRA_TESTS_CLIENT_CLI_CLI_PROCESS_H_

#include <sys/types.h>

#include <string>
#include <vector>

namespace shira::testing {

struct CliResult {
  // 128 + the signal's number when one ended it.
  int exit_code = -1;
  std::string out;
  std::string err;
};

class CliProcess {
 public:
  // `environment` holds "NAME=value" entries that are added to PATH alone.
  explicit CliProcess(const std::vector<std::string>& arguments,
                      const std::vector<std::string>& environment = {});
  ~CliProcess();
  CliProcess(const CliProcess&) = delete;
  CliProcess& operator=(const CliProcess&) = delete;

  void WriteInput(const std::string& text);
  void CloseInput();
  void CloseOutput();

  // Reads standard output until it holds `text`; false if it ends before.
  bool ReadOutputUntil(const std::string& text);

  void Interrupt();

  // Closes the input, reads what is left and waits for the end.
  CliResult Finish();

 private:
  pid_t pid_ = -1;
  int in_ = -1;
  int out_ = -1;
  int err_ = -1;
  CliResult result_;
};

// The whole run, with `input` on standard input.
CliResult RunCli(const std::vector<std::string>& arguments, const std::string& input = "",
                 const std::vector<std::string>& environment = {});

}  // namespace shira::testing

#endif  // SHIRA_TESTS_CLIENT_CLI_CLI_PROCESS_H_
