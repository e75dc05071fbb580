// File: tools/interrupt.h
//
// Ctrl-C sets a flag that long work polls, so that half-written files are removed.

#ifndef SHIRA_TOOLS_INTERRUPT_H_
#define SHIRA_TOOLS_INTERRUPT_H_

namespace shira::tools {

// From here on SIGINT and SIGTERM are noted once; a second one ends the program at once.
void NoteInterrupts();

// Whether one has come.
bool Interrupted();

}  // namespace shira::tools

#endif  // SHIRA_TOOLS_INTERRUPT_H_
