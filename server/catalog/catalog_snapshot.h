// File: server/catalog/catalog_snapshot.h
//
// What of the catalog survives a restart, and its form as a file:
//
//   {"format": "shira-server-state", "format_version": 2,
//    "last_versions": {"tone": 3}, "forgotten_versions": 1,
//    "adapters": [{"name": "tone", "version": 3, "sha256": "ab..", "format": "packed_shira",
//                  "path": "/srv/tone.shira", "source": "/srv/tone.shira", "source_sha256": "ab..",
//                  "owner": "user", "pinned": true}],
//    "aliases": [{"name": "prod", "target": "tone@3", "history": ["tone@2"]}],
//    "default_state": [{"name": "prod", "weight": 1.0}]}
//
// JSON, with every key and no other. A file of format_version 1 has no "forgotten_versions", and is
// read as if nothing had been forgotten.

#ifndef SHIRA_SERVER_CATALOG_CATALOG_SNAPSHOT_H_
#define SHIRA_SERVER_CATALOG_CATALOG_SNAPSHOT_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "base/sha256.h"
#include "server/catalog/adapter_selection.h"
#include "server/catalog/alias_table.h"
#include "server/catalog/version_numbers.h"

namespace shira {

// Who deletes the files that an adapter was read from, when it is unloaded.
enum class FileOwner {
  kUser,    // the user; the server never does
  kUpload,  // they were uploaded
  kBlend,   // they hold a blend that was not saved, or not exactly
};

struct CatalogSnapshot {
  struct Adapter {
    std::string name;
    int64_t version = 0;
    Sha256Digest digest;
    std::string format;
    std::string path;    // as shown; empty for a blend that was not saved
    std::string source;  // what to read
    Sha256Digest source_digest;
    FileOwner owner = FileOwner::kUser;
    bool pinned = false;
  };

  VersionNumbers::Saved versions;
  std::vector<Adapter> adapters;  // by name, then version
  std::vector<AliasInfo> aliases;
  std::vector<AdapterSelectionTerm> default_state;  // empty: the base
};

std::string SerializeSnapshot(const CatalogSnapshot& snapshot);

// DATA_LOSS names what is wrong, for everything that SerializeSnapshot() does not write: a key
// missing, unknown or of another type, a bad name or digest, a version twice or above the last one,
// an alias of a name that an adapter has. FAILED_PRECONDITION for a format_version that this
// program does not know.
absl::StatusOr<CatalogSnapshot> ParseSnapshot(std::string_view text);

}  // namespace shira

#endif  // SHIRA_SERVER_CATALOG_CATALOG_SNAPSHOT_H_
