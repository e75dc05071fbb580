#include "server/lifecycle/file_removal.h"

#include <algorithm>
#include <filesystem>
#include <iterator>
#include <system_error>
#include <utility>

namespace shira {

FileRemoval::FileRemoval(UploadStore* uploads, bool has_state_file)
    : uploads_(uploads), has_state_file_(has_state_file), thread_([this] { Run(); }) {}

FileRemoval::~FileRemoval() {
  {
    absl::MutexLock lock(&mutex_);
    stopping_ = true;
  }
  thread_.join();
}

void FileRemoval::Add(int64_t change, FileOwner owner, std::string source) {
  if (owner == FileOwner::kUser) return;
  absl::MutexLock lock(&mutex_);
  files_.push_back({change, owner, std::move(source)});
}

void FileRemoval::OnSaved(int64_t change) {
  absl::MutexLock lock(&mutex_);
  saved_change_ = std::max(saved_change_, change);
}

bool FileRemoval::IsRemovable(const Files& files) const {
  return !has_state_file_ || files.change <= saved_change_;
}

void FileRemoval::RemoveNow() {
  absl::MutexLock removing(&removing_mutex_);
  std::vector<Files> removable;
  {
    absl::MutexLock lock(&mutex_);
    const auto stays = [this](const Files& files) {
      mutex_.AssertHeld();
      return !IsRemovable(files);
    };
    const auto middle = std::stable_partition(files_.begin(), files_.end(), stays);
    removable.assign(std::make_move_iterator(middle), std::make_move_iterator(files_.end()));
    files_.erase(middle, files_.end());
  }
  for (const Files& files : removable) Remove(files.owner, files.source);
}

void FileRemoval::Remove(FileOwner owner, const std::string& source) {
  std::error_code ignored;
  if (owner == FileOwner::kUpload && uploads_ != nullptr) uploads_->Remove(source);
  if (owner == FileOwner::kBlend) std::filesystem::remove(source, ignored);
}

void FileRemoval::Run() {
  const auto is_wanted = [this] {
    mutex_.AssertHeld();
    return stopping_ || std::any_of(files_.begin(), files_.end(), [this](const Files& files) {
             mutex_.AssertHeld();
             return IsRemovable(files);
           });
  };
  while (true) {
    {
      absl::MutexLock lock(&mutex_);
      mutex_.Await(absl::Condition(&is_wanted));
      if (stopping_) return;
    }
    RemoveNow();
  }
}

}  // namespace shira
