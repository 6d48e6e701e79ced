/* Remembers notes in the host's key-value store, which keeps them apart for each workspace. */
#include "../sigil.h"

enum { RECALLED_MAX = 100 }; /* the latest; whoever has more wants a search, not a list */

/* Return the request {"key": KEY, or with `number` KEY-NUMBER. The caller goes on from there. */
static sigil_buffer key_request(const char *key, uint32_t number) {
    sigil_buffer request = {0};
    sigil_put(&request, "{\"key\":\"");
    sigil_put(&request, key);
    if (number) {
        sigil_put_byte(&request, '-');
        sigil_put_number(&request, number);
    }
    sigil_put_byte(&request, '"');
    return request;
}

static sigil_answer get(const char *key, uint32_t number, sigil_text session) {
    sigil_buffer request = key_request(key, number);
    sigil_put_byte(&request, '}');
    sigil_answer answer = sigil_call_host("kv.get", sigil_written(request), session);
    if (answer.status == 0) answer.payload = sigil_json_get(answer.payload, "value");
    return answer;
}

/* `value` is JSON. */
static int32_t set(const char *key, uint32_t number, sigil_text value, sigil_text session) {
    sigil_buffer request = key_request(key, number);
    sigil_put(&request, ",\"value\":");
    sigil_put_text(&request, value);
    sigil_put_byte(&request, '}');
    return sigil_call_host("kv.set", sigil_written(request), session).status;
}

static void fail(int32_t status) {
    sigil_fail(status == SIGIL_DENIED ? "the host denied the key-value store"
                                      : "the host's key-value store failed");
}

static void remember(sigil_text note, sigil_text session) {
    sigil_answer count = get("count", 0, session);
    if (count.status) return fail(count.status);
    uint32_t number = sigil_json_number(count.payload, 0) + 1;
    sigil_buffer value = {0};
    sigil_put_json_string(&value, note);
    /* The note first: if the second step fails, a number is given twice and no note is lost. */
    int32_t status = set("note", number, sigil_written(value), session);
    if (status) return fail(status);
    sigil_buffer shown = {0};
    sigil_put_number(&shown, number);
    status = set("count", 0, sigil_written(shown), session);
    if (status) return fail(status);
    sigil_buffer line = {0};
    sigil_put(&line, "remembered as note ");
    sigil_put_number(&line, number);
    sigil_put_byte(&line, '\n');
    sigil_emit(sigil_written(line));
}

static void recall(sigil_text session) {
    sigil_answer count = get("count", 0, session);
    if (count.status) return fail(count.status);
    uint32_t last = sigil_json_number(count.payload, 0);
    if (!last) sigil_emit(sigil_literal("nothing to recall yet\n"));
    uint32_t number = last > RECALLED_MAX ? last - RECALLED_MAX + 1 : 1;
    for (; number <= last; number++) {
        uintptr_t mark = sigil_top;
        sigil_answer note = get("note", number, session);
        if (note.status) return fail(note.status);
        sigil_buffer line = {0};
        sigil_put_number(&line, number);
        sigil_put(&line, ": ");
        sigil_put_text(&line, sigil_json_string(note.payload));
        sigil_put_byte(&line, '\n');
        sigil_emit(sigil_written(line));
        sigil_top = mark;
    }
}

sigil_text sigil_describe(void) {
    return sigil_literal(
        "[{\"name\":\"remember\",\"description\":\"Remembers a note\",\"inputSchema\":{"
        "\"type\":\"object\",\"properties\":{\"text\":{\"type\":\"string\",\"minLength\":1,"
        "\"maxLength\":4096}},\"required\":[\"text\"],\"additionalProperties\":false}},"
        "{\"name\":\"recall\",\"description\":\"Tells the notes, oldest first\",\"inputSchema\":{"
        "\"type\":\"object\",\"additionalProperties\":false}}]");
}

void sigil_execute(sigil_text tool, sigil_text arguments, sigil_text session) {
    if (sigil_equal(tool, "remember"))
        remember(sigil_json_string(sigil_json_get(arguments, "text")), session);
    else if (sigil_equal(tool, "recall")) recall(session);
    else sigil_fail("no such tool");
}
