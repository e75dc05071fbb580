// Asks the server at argv[1] for an answer, and for an adapter that does not exist.

#include <iostream>

#include "shira/client/client.h"
#include "shira/client/error_info.h"

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  const shira::Client client({.address = argv[1]});
  if (absl::Status ready = client.WaitUntilReady({.timeout = absl::Seconds(20)}); !ready.ok()) {
    std::cerr << ready << "\n";
    return 1;
  }
  shira::v1::GenerateRequest request;
  request.set_prompt("Ahoy");
  const auto summary = client.StreamGenerate(request, [](const auto& chunk) {
    std::cout << chunk.text();
    return true;
  });
  std::cout << "\n" << summary->usage().completion_tokens() << " tokens\n";

  request.mutable_adapter()->add_adapters()->set_name("nobody");
  const auto info = shira::GetErrorInfo(client.Generate(request).status());
  std::cout << (info.has_value() ? info->reason : "no reason") << "\n";
  return 0;
}
