// File: client/adapter_routing.h
//
// What a proxy in front of several servers can route by. Each server keeps the adapters in memory
// that it was asked for lately, so requests for one adapter should meet at one server. A proxy does
// not read messages; so the client says which adapter it wants in the call's metadata too. Servers
// ignore it. Not installed.

#ifndef SHIRA_CLIENT_ADAPTER_ROUTING_H_
#define SHIRA_CLIENT_ADAPTER_ROUTING_H_

#include <string>

#include "shira/v1/inference.pb.h"

namespace shira {

// The name of the metadata. docker/haproxy.cfg hashes its value.
inline constexpr char kAdapterMetadata[] = "shira-adapter";

// The value: the adapter's name; for several, their names, sorted, with "+" between them, whatever
// their weights, since it is the adapters that are kept in memory. Empty, and then nothing should
// be sent, for a request that names none, and for a name that metadata cannot carry: the server
// refuses that one with a better message.
std::string AdapterRoutingKey(const v1::GenerateRequest& request);

}  // namespace shira

#endif  // SHIRA_CLIENT_ADAPTER_ROUTING_H_
