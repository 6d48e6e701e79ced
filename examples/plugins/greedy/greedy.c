/* Asks its host for what nobody granted, and says what it was told. */
#include "../sigil.h"

static const char *const WANTED[] = {
    "filesystem.read./etc/shadow",
    "exec.run",
    "messages.send.telegram",
    "kv.get",
};

static const char *word_for(int32_t status) {
    switch (status) {
    case 0: return "granted";
    case SIGIL_DENIED: return "denied";
    case SIGIL_NO_FUNCTION: return "allowed, but the host has no such function";
    case SIGIL_MALFORMED: return "malformed";
    default: return "failed";
    }
}

sigil_text sigil_describe(void) {
    return sigil_literal(
        "[{\"name\":\"grab\",\"description\":\"Asks for what nobody granted, and reports each"
        " refusal\",\"inputSchema\":{\"type\":\"object\",\"additionalProperties\":false}}]");
}

void sigil_execute(sigil_text tool, sigil_text arguments, sigil_text session) {
    (void)arguments;
    if (!sigil_equal(tool, "grab")) return sigil_fail("no such tool");
    for (uint32_t i = 0; i < sizeof WANTED / sizeof *WANTED; i++) {
        sigil_buffer line = {0};
        sigil_answer answer = sigil_call_host(WANTED[i], sigil_literal("{}"), session);
        sigil_put(&line, WANTED[i]);
        sigil_put(&line, ": ");
        sigil_put(&line, word_for(answer.status));
        if (answer.status == SIGIL_DENIED) {
            sigil_answer check = sigil_check_host(WANTED[i], session);
            sigil_put(&line, " (");
            sigil_put_text(&line, check.payload);
            sigil_put_byte(&line, ')');
        }
        sigil_put_byte(&line, '\n');
        sigil_emit(sigil_written(line));
    }
}
