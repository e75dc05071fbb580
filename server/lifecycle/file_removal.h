// File: server/lifecycle/file_removal.h
//
// Deletes the files of versions that are gone, once the state file does not name them any more: a
// server that is killed in between finds them again at its next start. Versions end on any thread,
// the engine's included, which waits for no disk; so a thread removes what no other caller does.

#ifndef SHIRA_SERVER_LIFECYCLE_FILE_REMOVAL_H_
#define SHIRA_SERVER_LIFECYCLE_FILE_REMOVAL_H_

#include <cstdint>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "server/catalog/catalog_snapshot.h"
#include "server/lifecycle/upload_store.h"

namespace shira {

// Thread-safe.
class FileRemoval {
 public:
  // `uploads`: nullptr if there are none; must outlive this object. Without a state file, nothing
  // waits for being saved.
  FileRemoval(UploadStore* uploads, bool has_state_file);
  // What is left over stays: the next start finds it.
  ~FileRemoval();

  // Files that no snapshot of this change or of a later one names. Waits for nothing.
  void Add(int64_t change, FileOwner owner, std::string source) ABSL_LOCKS_EXCLUDED(mutex_);
  // The state file has the catalog as of this change.
  void OnSaved(int64_t change) ABSL_LOCKS_EXCLUDED(mutex_);

  // When it returns, all that could be removed is gone, whichever thread removed it.
  void RemoveNow() ABSL_LOCKS_EXCLUDED(mutex_, removing_mutex_);

  // Files that no snapshot ever named, at once.
  void Remove(FileOwner owner, const std::string& source);

 private:
  struct Files {
    int64_t change = 0;
    FileOwner owner = FileOwner::kUser;
    std::string source;
  };
  bool IsRemovable(const Files& files) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Run() ABSL_LOCKS_EXCLUDED(mutex_, removing_mutex_);

  UploadStore* const uploads_;
  const bool has_state_file_;

  // Held while files are deleted.
  absl::Mutex removing_mutex_ ABSL_ACQUIRED_BEFORE(mutex_);

  absl::Mutex mutex_;
  std::vector<Files> files_ ABSL_GUARDED_BY(mutex_);
  int64_t saved_change_ ABSL_GUARDED_BY(mutex_) = 0;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;  // last: it uses what is above
};

}  // namespace shira

#endif  // SHIRA_SERVER_LIFECYCLE_FILE_REMOVAL_H_
