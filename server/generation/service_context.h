// File: server/generation/service_context.h
//
// What services have besides the model: it is there from the server's start to its end.

#ifndef SHIRA_SERVER_GENERATION_SERVICE_CONTEXT_H_
#define SHIRA_SERVER_GENERATION_SERVICE_CONTEXT_H_

#include "base/work_queue.h"
#include "server/generation/backend.h"
#include "server/generation/generation_ledger.h"
#include "server/logging/call_records.h"

namespace shira {

// Everything is thread-safe and outlives every call.
struct ServiceContext {
  const BackendGate& gate;
  const CallRecords& records;
  GenerationLedger& ledger;
  WorkQueue& text_work;      // for what takes long to tokenise
  WorkQueue& disk_work;      // for adapters to be read
  WorkQueue& control_work;   // for what waits for running requests, the engine or the state file
  bool log_prompts = false;  // and answers
};

}  // namespace shira

#endif  // SHIRA_SERVER_GENERATION_SERVICE_CONTEXT_H_
