// Runs a fuzz target without libFuzzer: every file of a corpus, then seeded mutations of each. So
// every machine runs the targets in seconds, also one without clang, and a failure is the same
// everywhere.
//
//   safetensors_fuzz [--mutations N] [--seed S] FILE|FOLDER...
//
// An input that ends the process is left in ./failed-input.

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

#include "tests/fuzz/fuzz_target.h"

namespace {
namespace fs = std::filesystem;

const std::string* current_input = nullptr;

// Async-signal-safe. The default action follows, since SA_RESETHAND was given.
void SaveInput(int signal) {
  const int fd = open("failed-input", O_WRONLY | O_CREAT | O_TRUNC, 0644);
  if (fd >= 0 && current_input != nullptr) {
    if (write(fd, current_input->data(), current_input->size()) < 0) _exit(1);
    close(fd);
  }
  raise(signal);
}

void Run(const std::string& input) {
  current_input = &input;
  LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(input.data()), input.size());
}

class Mutator {
 public:
  explicit Mutator(uint32_t seed) : random_(seed) {}

  // One to four changes of the kinds that find bugs in readers of formats.
  std::string Mutate(std::string input, const std::vector<std::string>& corpus) {
    for (size_t change = 0, count = 1 + Below(4); change < count; ++change) {
      const size_t at = Below(input.size() + 1);
      const size_t length = std::min(Below(32), input.size() - at);
      switch (Below(7)) {
        case 0:
          if (at < input.size()) input[at] ^= static_cast<char>(1 << Below(8));
          break;
        case 1:
          if (at < input.size()) input[at] = static_cast<char>(Below(256));
          break;
        case 2:
          input.erase(at, length);
          break;
        case 3:
          input.insert(at, input.substr(at, length));
          break;
        case 4: {
          const std::string& other = corpus[Below(corpus.size())];
          input.insert(at, other.substr(Below(other.size() + 1), Below(64)));
          break;
        }
        case 5:
          Overwrite(input, at, kInteresting[Below(std::size(kInteresting))]);
          break;
        default:
          input.resize(at);
      }
    }
    return input;
  }

 private:
  static constexpr uint64_t kInteresting[] = {0,          1,          0x7f,       0x80,
                                              0xffff,     0x7fffffff, 0x80000000, 0xffffffff,
                                              1ull << 32, 1ull << 62, ~0ull >> 1, ~0ull};

  size_t Below(size_t bound) { return bound == 0 ? 0 : random_() % bound; }

  void Overwrite(std::string& input, size_t at, uint64_t value) {
    const size_t bytes = std::min(size_t{1} << Below(4), input.size() - at);
    std::memcpy(input.data() + at, &value, bytes);
  }

  std::mt19937 random_;
};

std::string ReadAll(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

std::vector<std::string> ReadCorpus(const std::vector<fs::path>& places) {
  std::vector<fs::path> files;
  for (const fs::path& place : places) {
    if (!fs::is_directory(place)) files.push_back(place);
    if (!fs::is_directory(place)) continue;
    for (const fs::directory_entry& entry : fs::directory_iterator(place)) {
      files.push_back(entry.path());
    }
  }
  std::sort(files.begin(), files.end());  // so that a seed means one thing
  std::vector<std::string> corpus;
  for (const fs::path& file : files) corpus.push_back(ReadAll(file));
  return corpus;
}

}  // namespace

int main(int argc, char** argv) {
  size_t mutations = 0;
  uint32_t seed = 1;
  std::vector<fs::path> places;
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    if (argument == "--mutations" && i + 1 < argc) {
      mutations = std::stoul(argv[++i]);
    } else if (argument == "--seed" && i + 1 < argc) {
      seed = static_cast<uint32_t>(std::stoul(argv[++i]));
    } else {
      places.emplace_back(argument);
    }
  }
  struct sigaction action = {};
  action.sa_handler = SaveInput;
  action.sa_flags = static_cast<int>(SA_RESETHAND);
  for (const int signal : {SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL}) {
    sigaction(signal, &action, nullptr);
  }

  const std::vector<std::string> corpus = ReadCorpus(places);
  if (corpus.empty()) {
    std::fprintf(stderr, "usage: %s [--mutations N] [--seed S] FILE|FOLDER...\n", argv[0]);
    return 2;
  }
  Run("");
  Mutator mutator(seed);
  for (const std::string& input : corpus) Run(input);
  for (size_t i = 0; i < mutations; ++i) Run(mutator.Mutate(corpus[i % corpus.size()], corpus));
  std::printf("%zu files, %zu mutations\n", corpus.size(), mutations);
  return 0;
}
