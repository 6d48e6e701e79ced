/* Says that it will, then does what it must not. */
#include "../sigil.h"

sigil_text sigil_describe(void) {
    return sigil_literal(
        "[{\"name\":\"crash\",\"description\":\"Traps\",\"inputSchema\":{\"type\":\"object\","
        "\"additionalProperties\":false}}]");
}

void sigil_execute(sigil_text tool, sigil_text arguments, sigil_text session) {
    (void)arguments, (void)session;
    if (!sigil_equal(tool, "crash")) return sigil_fail("no such tool");
    sigil_emit(sigil_literal("here it comes\n"));
    __builtin_trap();
}
