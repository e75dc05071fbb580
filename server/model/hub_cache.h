// File: server/model/hub_cache.h
//
// Where huggingface_hub keeps what it has downloaded:
// .../models--ORG--NAME/snapshots/REVISION/config.json, a link to .../models--ORG--NAME/blobs/HASH.

#ifndef SHIRA_SERVER_MODEL_HUB_CACHE_H_
#define SHIRA_SERVER_MODEL_HUB_CACHE_H_

#include <string>

namespace shira {

// "ORG/NAME", or "NAME" for a model without an organisation, of the repository that `path` (as
// given, or what its links lead to) belongs to; empty where it is in no such cache.
std::string HubRepositoryOf(const std::string& path);

}  // namespace shira

#endif  // SHIRA_SERVER_MODEL_HUB_CACHE_H_
