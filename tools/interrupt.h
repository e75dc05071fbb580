// File: tools/interrupt.h
//
// Ctrl-C as a question that long work asks, so that files that are half written are removed.

#ifndef SHIRA_TOOLS_INTERRUPT_H_
#define SHIRA_TOOLS_INTERRUPT_H_

namespace shira::tools {

// From here on SIGINT and SIGTERM are noted once; a second one ends the program at once.
void NoteInterrupts();

// Whether one has come.
bool Interrupted();

}  // namespace shira::tools

#endif  // SHIRA_TOOLS_INTERRUPT_H_
