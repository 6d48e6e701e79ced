/* Never comes back by itself. */
#include "../sigil.h"

sigil_text sigil_describe(void) {
    return sigil_literal(
        "[{\"name\":\"spin\",\"description\":\"Runs for ever\",\"inputSchema\":{"
        "\"type\":\"object\",\"additionalProperties\":false}}]");
}

void sigil_execute(sigil_text tool, sigil_text arguments, sigil_text session) {
    (void)arguments, (void)session;
    if (!sigil_equal(tool, "spin")) return sigil_fail("no such tool");
    sigil_emit(sigil_literal("spinning\n"));
    for (volatile uint32_t turns = 0;;) turns = turns + 1;
}
