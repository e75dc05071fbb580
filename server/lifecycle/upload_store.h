// File: server/lifecycle/upload_store.h
//
// Adapters' files that clients send: a folder of its own for each upload, below one that belongs to
// the server. An upload is written into a hidden neighbour (".NAME.partial-...") while its bytes
// are counted and hashed, put on the disk, and named when everything is there.
//
//   SHIRA_ASSIGN_OR_RETURN(auto upload, store->Begin(manifest));
//   SHIRA_RETURN_IF_ERROR(upload->Append(bytes));               // as they come
//   SHIRA_ASSIGN_OR_RETURN(const std::string path, upload->Commit());

#ifndef SHIRA_SERVER_LIFECYCLE_UPLOAD_STORE_H_
#define SHIRA_SERVER_LIFECYCLE_UPLOAD_STORE_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "base/atomic_file.h"
#include "base/atomic_folder.h"
#include "base/file_lock.h"
#include "base/sha256.h"
#include "server/residency/memory_budget.h"

namespace shira {

// What a client says that it is going to send.
struct UploadManifest {
  struct File {
    std::string name;
    int64_t size_bytes = 0;
    std::string sha256;  // hexadecimal; empty: not checked
  };
  std::string adapter;  // the adapter's name
  std::vector<File> files;
};

inline constexpr size_t kMaxUploadFiles = 16;

// Thread-safe.
class UploadStore {
 public:
  struct Options {
    std::string folder;  // made if it is not there; what is in it already counts
    int64_t max_upload_bytes = int64_t{4} << 30;
    int64_t quota_bytes = int64_t{64} << 30;  // for all uploads, those under way included
  };

  // Removes what a killed server left half written. FAILED_PRECONDITION if another server has the
  // folder.
  static absl::StatusOr<std::unique_ptr<UploadStore>> Open(Options options);

  // One upload under way. Thread-compatible. Destroyed before Commit() has returned OK, it leaves
  // nothing.
  class Upload {
   public:
    // The next bytes of the files, one after the other.
    //   INVALID_ARGUMENT    more than was announced
    //   DATA_LOSS           a file that is complete now has another SHA-256
    //   and errors of AtomicFile; after any error the upload can only be destroyed
    absl::Status Append(std::string_view bytes);

    // Everything is on the disk when it returns the upload's folder. DATA_LOSS if bytes are
    // missing. REQUIRES: called at most once.
    absl::StatusOr<std::string> Commit();

   private:
    friend class UploadStore;
    Upload(UploadStore& store, UploadManifest manifest, AtomicFolder folder,
           MemoryBudget::Reservation bytes);
    absl::Status BeginFile();
    absl::Status EndFile();

    UploadStore& store_;
    const UploadManifest manifest_;
    MemoryBudget::Reservation bytes_;  // given back after the folder is gone
    AtomicFolder folder_;
    size_t index_ = 0;       // of the file that comes now
    int64_t remaining_ = 0;  // of it
    std::optional<AtomicFile> file_;
    Sha256 hash_;
  };

  // Takes what the upload will need of the quota. REQUIRES: the manifest's adapter name is valid.
  //   INVALID_ARGUMENT    no file, too many, a bad name, a name twice, a size that is not positive,
  //                       a digest that is none (lists every problem), or beyond
  //                       max_upload_bytes
  //   RESOURCE_EXHAUSTED  beyond the quota
  absl::StatusOr<std::unique_ptr<Upload>> Begin(UploadManifest manifest)
      ABSL_LOCKS_EXCLUDED(mutex_);

  // Deletes a complete upload, whose folder Commit() returned.
  void Remove(const std::string& path) ABSL_LOCKS_EXCLUDED(mutex_);

  // The folders of complete uploads, in order; and other folders in it.
  std::vector<std::string> List() const ABSL_LOCKS_EXCLUDED(mutex_);

  // Whether a folder has a name that only an upload gets, and nothing in it but what one can bring.
  static bool IsUpload(const std::string& path);

  const std::string& folder() const { return options_.folder; }
  int64_t in_use_bytes() const { return quota_->in_use_bytes(); }
  int64_t quota_bytes() const { return quota_->limit_bytes(); }

 private:
  UploadStore(Options options, FileLock lock);
  void Count();

  const Options options_;
  const FileLock lock_;
  const std::shared_ptr<MemoryBudget> quota_;

  mutable absl::Mutex mutex_;
  std::map<std::string, MemoryBudget::Reservation> complete_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace shira

#endif  // SHIRA_SERVER_LIFECYCLE_UPLOAD_STORE_H_
