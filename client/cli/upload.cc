#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/types/span.h"
#include "base/sha256.h"
#include "client/cli/commands.h"
#include "client/cli/format.h"
#include "client/cli/json_output.h"

namespace shira::cli {
namespace {

namespace fs = std::filesystem;

constexpr size_t kChunkBytes = size_t{1} << 18;

struct UploadArguments {
  std::string path;
  v1::UploadAdapterRequest::Header header;
};

bool IsTensorFile(const fs::path& path) {
  return path.extension() == ".shira" || path.extension() == ".safetensors";
}

// The files that make the adapter at `path`: PEFT's two, or the only one of a format of one file.
absl::StatusOr<std::vector<fs::path>> FilesOf(const fs::path& path) {
  std::error_code error;
  if (fs::is_regular_file(path, error)) return std::vector<fs::path>{path};
  if (!fs::is_directory(path, error))
    return absl::NotFoundError(absl::StrCat(path.string(), ": no such file or folder"));
  const fs::path config = path / "adapter_config.json";
  if (fs::exists(config, error))
    return std::vector<fs::path>{config, path / "adapter_model.safetensors"};
  std::vector<fs::path> files;
  for (const fs::directory_entry& entry : fs::directory_iterator(path, error)) {
    if (IsTensorFile(entry.path())) files.push_back(entry.path());
  }
  if (files.size() == 1) return files;
  return absl::InvalidArgumentError(
      absl::StrCat(path.string(), ": expected adapter_config.json, or one file named *.shira or ",
                   "*.safetensors; found ", files.size()));
}

// A file's bytes, piece by piece.
class FileReader {
 public:
  explicit FileReader(const fs::path& path)
      : path_(path), file_(path, std::ios::binary), buffer_(kChunkBytes, '\0') {}

  // Empty at the end.
  absl::StatusOr<absl::string_view> Next() {
    if (!file_.is_open()) return Error();
    file_.read(buffer_.data(), static_cast<std::streamsize>(buffer_.size()));
    if (file_.bad()) return Error();
    return absl::string_view(buffer_.data(), static_cast<size_t>(file_.gcount()));
  }

 private:
  absl::Status Error() const {
    return absl::NotFoundError(
        absl::StrCat("cannot read ", path_.string(), ": ", std::strerror(errno)));
  }

  const fs::path path_;
  std::ifstream file_;
  std::string buffer_;
};

absl::Status Describe(const fs::path& path, v1::UploadAdapterRequest::File& file) {
  FileReader reader(path);
  Sha256 hash;
  int64_t size = 0;
  while (true) {
    const absl::StatusOr<absl::string_view> piece = reader.Next();
    if (!piece.ok()) return piece.status();
    if (piece->empty()) break;
    hash.Update(std::string_view(piece->data(), piece->size()));
    size += static_cast<int64_t>(piece->size());
  }
  file.set_name(path.filename().string());
  file.set_size_bytes(size);
  file.set_sha256(hash.Finish().Hex());
  return absl::OkStatus();
}

absl::StatusOr<v1::UploadAdapterResponse> Send(Session& session, const UploadArguments& options,
                                               absl::Span<const fs::path> files) {
  size_t index = 0;
  auto reader = std::make_unique<FileReader>(files[0]);
  const auto next = [&]() -> absl::StatusOr<absl::string_view> {
    while (true) {
      absl::StatusOr<absl::string_view> piece = reader->Next();
      if (!piece.ok() || !piece->empty() || ++index == files.size()) return piece;
      reader = std::make_unique<FileReader>(files[index]);
    }
  };
  return session.Run(absl::StrCat("Uploading ", options.header.name()),
                     [&](const CallOptions& call) {
                       return session.client().UploadAdapter(options.header, next, call);
                     });
}

absl::StatusOr<ExitCode> Upload(Session& session, UploadArguments options) {
  const absl::StatusOr<std::vector<fs::path>> files = FilesOf(options.path);
  if (!files.ok()) return files.status();
  for (const fs::path& path : *files) {
    if (absl::Status status = Describe(path, *options.header.add_files()); !status.ok())
      return status;
  }
  if (absl::Status status = session.Connect(); !status.ok()) return status;
  const absl::StatusOr<v1::UploadAdapterResponse> response = Send(session, options, *files);
  if (!response.ok()) return response.status();
  if (session.json()) {
    session.PrintJson(ToJson(*response));
    return ExitCode::kOk;
  }
  const v1::Adapter& adapter = response->adapter();
  session.out().Write(absl::StrFormat(
      "%s %s v%d: %s entries in %d parameters, sha256 %s\n",
      response->already_loaded() ? "Already loaded" : "Uploaded", adapter.name(), adapter.version(),
      FormatCount(adapter.entries()), adapter.parameter_count(), ShortDigest(adapter.sha256())));
  return ExitCode::kOk;
}

}  // namespace

CommandRunner SetUpUpload(CLI::App& app) {
  const auto options = std::make_shared<UploadArguments>();
  app.description("Send an adapter from this machine to the server, and load it there");
  app.footer(
      "The server keeps the files until the adapter is unloaded.\n"
      "Examples:\n"
      "  shira upload ./pirate --name pirate\n"
      "  shira upload pirate-v2.shira --name pirate --replace");
  app.add_option("PATH", options->path,
                 "A folder as PEFT writes it, or a file (*.shira, *.safetensors)")
      ->type_name("")
      ->required();
  app.add_option_function<std::string>(
         "--name", [options](const std::string& name) { options->header.set_name(name); },
         "Name to load it under")
      ->type_name("NAME")
      ->required();
  app.add_flag_function(
      "--replace", [options](int64_t) { options->header.set_replace(true); },
      "Make it the next version if the name is loaded with other content");
  return [options](Session& session) { return Upload(session, *options); };
}

}  // namespace shira::cli
