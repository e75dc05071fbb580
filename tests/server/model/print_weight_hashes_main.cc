// print_weight_hashes MODEL DTYPE [THREADS]: one line "SHA-256 NAME" per parameter, over its bytes
// in DTYPE (F32, BF16 or F16), and how long reading took on stderr.

#include <chrono>
#include <cstdlib>
#include <iostream>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/sha256.h"
#include "base/status_macros.h"
#include "server/model/weight_loader.h"

namespace {

// New threads for every loop: slow, but all that a test needs.
shira::ParallelFor ThreadedFor(int threads) {
  return [threads](int64_t count, absl::FunctionRef<void(int64_t, int64_t)> body) {
    std::vector<std::thread> workers;
    for (int64_t i = 0; i < threads; ++i) {
      const int64_t begin = count * i / threads;
      const int64_t end = count * (i + 1) / threads;
      if (begin < end) workers.emplace_back([=] { body(begin, end); });
    }
    for (std::thread& worker : workers) worker.join();
  };
}

absl::Status PrintHashes(const std::string& path, shira::DType dtype, int threads) {
  const shira::ParallelFor parallel_for = ThreadedFor(threads);
  std::chrono::duration<double, std::milli> reading{};
  SHIRA_ASSIGN_OR_RETURN(const auto source, shira::WeightSource::Open(path));
  for (const shira::TensorSpec& parameter : source->config().Tensors()) {
    const int64_t rows = parameter.rows();
    const int64_t cols = parameter.cols();
    std::vector<std::byte> bytes(rows * cols * shira::DTypeSize(dtype));

    const auto start = std::chrono::steady_clock::now();
    SHIRA_RETURN_IF_ERROR(
        source->Read(parameter.name, dtype, {bytes.data(), rows, cols}, parallel_for));
    reading += std::chrono::steady_clock::now() - start;
    std::cout << shira::Sha256::Of(bytes).Hex() << " " << parameter.name << "\n";
  }
  std::cerr << "reading took " << reading.count() << " ms\n";
  return absl::OkStatus();
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) return 2;
  const std::optional<shira::DType> dtype = shira::ParseDType(argv[2]);
  if (!dtype) return 2;
  const absl::Status status = PrintHashes(argv[1], *dtype, argc > 3 ? std::atoi(argv[3]) : 2);
  if (!status.ok()) {
    std::cerr << status << "\n";
    return 1;
  }
}
