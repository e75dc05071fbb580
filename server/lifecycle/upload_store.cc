#include "server/lifecycle/upload_store.h"

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <set>
#include <system_error>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/time/clock.h"
#include "base/problem_list.h"
#include "base/status_macros.h"
#include "base/strings.h"

namespace shira {
namespace fs = std::filesystem;
namespace {

constexpr size_t kMaxFileNameLength = 128;

bool IsFileName(const std::string& name) {
  return !name.empty() && name.size() <= kMaxFileNameLength &&
         absl::ascii_isalnum(static_cast<unsigned char>(name.front())) &&
         std::all_of(name.begin(), name.end(), [](char c) {
           return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '.' || c == '_' ||
                  c == '-';
         });
}

bool IsDigest(const std::string& hex) {
  return hex.size() == 64 && std::all_of(hex.begin(), hex.end(), [](char c) {
           return absl::ascii_isxdigit(static_cast<unsigned char>(c));
         });
}

absl::Status Check(const UploadManifest& manifest) {
  ProblemList problems;
  if (manifest.files.empty()) problems.Add("there are none");
  if (manifest.files.size() > kMaxUploadFiles) {
    problems.Add("there are ", manifest.files.size(), ", more than ", kMaxUploadFiles);
  }
  std::set<std::string> names;
  for (const UploadManifest::File& file : manifest.files) {
    const std::string shown = absl::CHexEscape(file.name.substr(0, kMaxFileNameLength));
    if (!IsFileName(file.name)) {
      problems.Add("'", shown, "' is no name of a file: expected 1 to ", kMaxFileNameLength,
                   " letters, digits, '.', '_' and '-', the first a letter or a digit");
    }
    if (!names.insert(file.name).second) problems.Add("'", shown, "' occurs twice");
    if (file.size_bytes < 1) problems.Add("'", shown, "' has ", file.size_bytes, " bytes");
    if (!file.sha256.empty() && !IsDigest(file.sha256)) {
      problems.Add("the SHA-256 of '", shown, "' is not 64 hexadecimal digits");
    }
  }
  return problems.ToStatus(absl::StatusCode::kInvalidArgument, "files");
}

// Of everything below `folder`.
int64_t BytesOf(const fs::path& folder) {
  int64_t bytes = 0;
  std::error_code error;
  fs::recursive_directory_iterator it(folder, error);
  for (const fs::recursive_directory_iterator end; !error && it != end; it.increment(error)) {
    std::error_code ignored;
    const auto size = fs::is_regular_file(it->symlink_status(ignored)) ? it->file_size(ignored) : 0;
    if (!ignored) bytes += static_cast<int64_t>(size);
  }
  return bytes;
}

constexpr size_t kTimeDigits = 16;

// A name for an upload's folder that no other has had. Adapters' names have no '+'.
std::string FolderName(const std::string& adapter) {
  static std::atomic<int> counter = 0;
  return StrCat(absl::StrReplaceAll(adapter, {{"/", "+"}}), ".",
                absl::StrCat(absl::Hex(absl::GetCurrentTimeNanos(), absl::kZeroPad16)), "-",
                counter++);
}

// Whether FolderName() could have made it.
bool IsFolderName(std::string_view name) {
  const size_t dot = name.rfind('.');
  if (dot == std::string_view::npos || dot == 0) return false;
  const std::string_view suffix = name.substr(dot + 1);
  return suffix.size() > kTimeDigits + 1 && suffix[kTimeDigits] == '-' &&
         suffix.find_first_not_of("0123456789abcdef") == kTimeDigits &&
         suffix.find_first_not_of("0123456789", kTimeDigits + 1) == std::string_view::npos;
}

}  // namespace

UploadStore::UploadStore(Options options, FileLock lock)
    : options_(std::move(options)),
      lock_(std::move(lock)),
      quota_(MemoryBudget::Create(options_.quota_bytes)) {}

absl::StatusOr<std::unique_ptr<UploadStore>> UploadStore::Open(Options options) {
  std::error_code error;
  fs::create_directories(options.folder, error);
  if (!error) options.folder = fs::canonical(options.folder, error).native();
  if (error) {
    return absl::PermissionDeniedError(
        StrCat("upload folder ", options.folder, ": ", error.message()));
  }
  SHIRA_ASSIGN_OR_RETURN(FileLock lock, FileLock::Take(options.folder + "/.lock"));
  std::unique_ptr<UploadStore> store(new UploadStore(std::move(options), std::move(lock)));
  store->Count();
  return store;
}

void UploadStore::Count() {
  std::error_code error;
  std::vector<fs::path> half_written;
  absl::MutexLock lock(&mutex_);
  fs::directory_iterator it(options_.folder, error);
  for (const fs::directory_iterator end; !error && it != end; it.increment(error)) {
    const std::string name = it->path().filename().native();
    if (name.starts_with('.')) {
      if (name.find(".partial-") != std::string::npos) half_written.push_back(it->path());
      continue;
    }
    std::error_code ignored;
    if (!fs::is_directory(it->symlink_status(ignored))) continue;
    complete_.emplace(it->path().native(), quota_->Count(BytesOf(it->path())));
  }
  for (const fs::path& path : half_written) fs::remove_all(path, error);
}

absl::StatusOr<std::unique_ptr<UploadStore::Upload>> UploadStore::Begin(UploadManifest manifest) {
  SHIRA_RETURN_IF_ERROR(Check(manifest));
  int64_t bytes = 0;
  for (const UploadManifest::File& file : manifest.files) {
    // Each is compared, so that no sum overflows.
    if (file.size_bytes > options_.max_upload_bytes - bytes) {
      return absl::InvalidArgumentError(StrCat("the files have more than ",
                                               options_.max_upload_bytes,
                                               " bytes, the most of one upload"));
    }
    bytes += file.size_bytes;
  }
  absl::StatusOr<MemoryBudget::Reservation> reserved = quota_->Reserve(bytes);
  if (!reserved.ok()) {
    return absl::ResourceExhaustedError(StrCat(
        "the upload needs ", bytes, " bytes, but ", in_use_bytes(), " of the ", quota_bytes(),
        " bytes for all uploads are in use: unload adapters that were "
        "uploaded"));
  }
  SHIRA_ASSIGN_OR_RETURN(
      AtomicFolder folder,
      AtomicFolder::Create(StrCat(options_.folder, "/", FolderName(manifest.adapter)),
                           /*replace=*/false));
  std::unique_ptr<Upload> upload(
      new Upload(*this, std::move(manifest), std::move(folder), *std::move(reserved)));
  SHIRA_RETURN_IF_ERROR(upload->BeginFile());
  return upload;
}

void UploadStore::Remove(const std::string& path) {
  absl::MutexLock lock(&mutex_);
  const auto found = complete_.find(path);
  if (found == complete_.end()) return;
  // Hidden first, so that a crash leaves no half of it under its name.
  const std::string hidden = TemporaryNeighbour(path);
  std::error_code error;
  fs::rename(path, hidden, error);
  fs::remove_all(error ? path : hidden, error);
  complete_.erase(found);
}

std::vector<std::string> UploadStore::List() const {
  absl::MutexLock lock(&mutex_);
  std::vector<std::string> folders;
  for (const auto& [path, bytes] : complete_) folders.push_back(path);
  return folders;
}

bool UploadStore::IsUpload(const std::string& path) {
  if (!IsFolderName(fs::path(path).filename().native())) return false;
  std::error_code error;
  size_t files = 0;
  fs::directory_iterator it(path, error);
  for (const fs::directory_iterator end; !error && it != end; it.increment(error)) {
    if (!fs::is_regular_file(it->symlink_status(error))) return false;
    if (!IsFileName(it->path().filename().native()) || ++files > kMaxUploadFiles) return false;
  }
  return !error && files > 0;
}

UploadStore::Upload::Upload(UploadStore& store, UploadManifest manifest, AtomicFolder folder,
                            MemoryBudget::Reservation bytes)
    : store_(store),
      manifest_(std::move(manifest)),
      bytes_(std::move(bytes)),
      folder_(std::move(folder)) {}

absl::Status UploadStore::Upload::BeginFile() {
  const UploadManifest::File& file = manifest_.files[index_];
  absl::StatusOr<AtomicFile> created =
      AtomicFile::Create(StrCat(folder_.staging(), "/", file.name));
  if (!created.ok()) return folder_.WithPath(created.status());
  file_.emplace(*std::move(created));
  remaining_ = file.size_bytes;
  hash_ = Sha256();
  return absl::OkStatus();
}

absl::Status UploadStore::Upload::EndFile() {
  const UploadManifest::File& file = manifest_.files[index_];
  const std::string found = hash_.Finish().Hex();
  if (!file.sha256.empty() && absl::AsciiStrToLower(file.sha256) != found) {
    return absl::DataLossError(StrCat("file ", file.name, " came with SHA-256 ", found,
                                      ", but expected is ", file.sha256));
  }
  if (const absl::Status status = file_->Commit(); !status.ok()) return folder_.WithPath(status);
  file_.reset();
  return ++index_ < manifest_.files.size() ? BeginFile() : absl::OkStatus();
}

absl::Status UploadStore::Upload::Append(std::string_view bytes) {
  while (!bytes.empty()) {
    if (index_ == manifest_.files.size()) {
      return absl::InvalidArgumentError("more bytes came than the files were said to have");
    }
    const std::string_view piece =
        bytes.substr(0, std::min<size_t>(bytes.size(), static_cast<size_t>(remaining_)));
    hash_.Update(piece);
    if (const absl::Status status = file_->Append(piece); !status.ok()) {
      return folder_.WithPath(status);
    }
    remaining_ -= static_cast<int64_t>(piece.size());
    bytes.remove_prefix(piece.size());
    if (remaining_ == 0) SHIRA_RETURN_IF_ERROR(EndFile());
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> UploadStore::Upload::Commit() {
  if (index_ < manifest_.files.size()) {
    return absl::DataLossError(StrCat("the stream ended before its end: ", remaining_,
                                      " bytes of file ", manifest_.files[index_].name,
                                      " are missing"));
  }
  const std::string path = folder_.path();
  absl::MutexLock lock(&store_.mutex_);
  SHIRA_RETURN_IF_ERROR(folder_.Commit());
  store_.complete_.emplace(path, std::move(bytes_));
  return path;
}

}  // namespace shira
