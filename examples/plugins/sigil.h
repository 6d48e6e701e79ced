/* The native Wasm dialect of sigil-actors, for plugins in C without a C library.
 *
 * Include this in the one source file of a plugin and write two functions:
 *
 *     sigil_text sigil_describe(void);
 *         Return a JSON array of your tools: [{"name", "description", "inputSchema"}, ...].
 *
 *     void sigil_execute(sigil_text tool, sigil_text arguments, sigil_text session);
 *         Run one of them. `arguments` is a JSON object. Answer by sigil_emit, as often as you like,
 *         and hand `session` back whenever you ask the host for something: it says for whom.
 *
 * Everything else is in here, top down: texts, memory, JSON in, JSON out, base64, the host, and the
 * three functions that the host looks for. docs/reference/guest-abi.md has the rules behind it.
 *
 * Memory is handed out upwards and all taken back when the next request comes, so nothing has to be
 * freed. What a plugin wants to keep from one call to the next belongs into the host's kv.* store.
 */
#ifndef SIGIL_H
#define SIGIL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- the numbers of the dialect */

enum sigil_guest_op { /* what the host asks of a guest */
    SIGIL_GUEST_INIT = 1,
    SIGIL_GUEST_HEALTH = 2,
    SIGIL_GUEST_SHUTDOWN = 3,
    SIGIL_GUEST_DESCRIBE = 16,
    SIGIL_GUEST_EXECUTE = 17,
};

enum sigil_host_op { /* what a guest asks of its host */
    SIGIL_HOST_CALL = 1,
    SIGIL_HOST_CHECK = 2,
    SIGIL_HOST_EMIT = 3,
};

enum sigil_refusal { /* what the host answers instead of a length */
    SIGIL_DENIED = -1,
    SIGIL_NO_FUNCTION = -2,
    SIGIL_FAILED = -3,
    SIGIL_MALFORMED = -4,
};

/* ---- texts: UTF-8, a pointer and a length, no zero at the end */

typedef struct {
    char *at;
    uint32_t length;
} sigil_text;

static inline sigil_text sigil_literal(const char *zero_ended) {
    uint32_t length = 0;
    while (zero_ended[length]) length++;
    return (sigil_text){(char *)zero_ended, length};
}

static inline bool sigil_equal(sigil_text text, const char *zero_ended) {
    sigil_text other = sigil_literal(zero_ended);
    if (text.length != other.length) return false;
    for (uint32_t i = 0; i < text.length; i++)
        if (text.at[i] != other.at[i]) return false;
    return true;
}

/* The compiler turns loops and assignments into calls of these two. */

void *memcpy(void *restrict to, const void *restrict from, size_t length) {
    for (size_t i = 0; i < length; i++) ((char *)to)[i] = ((const char *)from)[i];
    return to;
}

void *memset(void *to, int byte, size_t length) {
    for (size_t i = 0; i < length; i++) ((char *)to)[i] = (char)byte;
    return to;
}

/* ---- memory: one pointer that only moves up until the next request */

extern char __heap_base; /* the linker puts it behind the stack and all static variables */
static uintptr_t sigil_top;

/* Return room, zeroed or not as it comes; NULL when the host gives no more. */
static void *sigil_try_reserve(uint32_t length) {
    const uintptr_t page = 65536;
    if (!sigil_top) sigil_top = (uintptr_t)&__heap_base;
    uintptr_t start = (sigil_top + 7) & ~(uintptr_t)7;
    if (start + length < start) return NULL;
    uintptr_t end = start + length, have = __builtin_wasm_memory_size(0) * page;
    if (end > have) {
        uint32_t pages = (uint32_t)((end - have + page - 1) / page);
        if (__builtin_wasm_memory_grow(0, pages) == (size_t)-1) return NULL;
    }
    sigil_top = end;
    return (void *)start;
}

/* The same, for those who can't go on without; the host then reports the bound on memory. */
static inline void *sigil_reserve(uint32_t length) {
    void *room = sigil_try_reserve(length);
    if (!room) __builtin_trap();
    return room;
}

/* ---- JSON in: values are found in the text as it stands, and decoded in their own place */

static inline char *sigil_json_skip_space(char *at, char *end) {
    while (at < end && (*at == ' ' || *at == '\t' || *at == '\n' || *at == '\r')) at++;
    return at;
}

/* Return the end of the value that begins at `at`, or `end` if it has none. */
static char *sigil_json_skip_value(char *at, char *end) {
    uint32_t depth = 0;
    bool in_string = false;
    for (; at < end; at++) {
        if (in_string) {
            if (*at == '\\') at++;
            else if (*at == '"') in_string = false;
        } else if (*at == '"') in_string = true;
        else if (*at == '{' || *at == '[') depth++;
        else if (*at == '}' || *at == ']') {
            if (depth == 0) return at;
            depth--;
        } else if (*at == ',' || *at == ':') {
            if (depth == 0) return at;
            continue;
        } else continue;
        if (depth == 0 && !in_string) return at + 1; /* a string, an object or an array is over */
    }
    return end;
}

/* Return the value of `key` in a JSON object, still as JSON; length 0 if it isn't there. */
static sigil_text sigil_json_get(sigil_text object, const char *key) {
    char *end = object.at + object.length;
    char *at = sigil_json_skip_space(object.at, end);
    if (at == end || *at != '{') return (sigil_text){0};
    at++;
    while (at < end) {
        at = sigil_json_skip_space(at, end);
        char *name = at;
        at = sigil_json_skip_value(at, end);
        bool found = at - name >= 2 &&
            sigil_equal((sigil_text){name + 1, (uint32_t)(at - name) - 2}, key);
        at = sigil_json_skip_space(at, end);
        if (at == end || *at != ':') return (sigil_text){0};
        at = sigil_json_skip_space(at + 1, end);
        char *value = at;
        at = sigil_json_skip_value(at, end);
        if (found) {
            while (at > value && (at[-1] == ' ' || at[-1] == '\n' || at[-1] == '\r' || at[-1] == '\t')) at--;
            return (sigil_text){value, (uint32_t)(at - value)};
        }
        at = sigil_json_skip_space(at, end);
        if (at == end || *at != ',') return (sigil_text){0};
        at++;
    }
    return (sigil_text){0};
}

static uint32_t sigil_hex4(const char *at) {
    uint32_t value = 0;
    for (int i = 0; i < 4; i++) {
        char c = at[i];
        value = value * 16 + (uint32_t)(c <= '9' ? c - '0' : (c | 32) - 'a' + 10);
    }
    return value;
}

static char *sigil_put_utf8(char *to, uint32_t code) {
    if (code < 0x80) *to++ = (char)code;
    else if (code < 0x800) {
        *to++ = (char)(0xc0 | code >> 6);
        *to++ = (char)(0x80 | (code & 0x3f));
    } else if (code < 0x10000) {
        *to++ = (char)(0xe0 | code >> 12);
        *to++ = (char)(0x80 | (code >> 6 & 0x3f));
        *to++ = (char)(0x80 | (code & 0x3f));
    } else {
        *to++ = (char)(0xf0 | code >> 18);
        *to++ = (char)(0x80 | (code >> 12 & 0x3f));
        *to++ = (char)(0x80 | (code >> 6 & 0x3f));
        *to++ = (char)(0x80 | (code & 0x3f));
    }
    return to;
}

/* Decode a JSON string where it stands, since it never gets longer; length 0 if it is none.
 * Once only: afterwards the JSON around it is no JSON any more. */
static sigil_text sigil_json_string(sigil_text value) {
    if (value.length < 2 || value.at[0] != '"') return (sigil_text){0};
    char *from = value.at + 1, *end = value.at + value.length - 1, *to = value.at;
    while (from < end) {
        if (*from != '\\') {
            *to++ = *from++;
            continue;
        }
        char kind = from[1];
        from += 2;
        if (kind == 'u' && end - from >= 4) {
            uint32_t code = sigil_hex4(from);
            from += 4;
            bool high = code >= 0xd800 && code < 0xdc00;
            if (high && end - from >= 6 && from[0] == '\\' && from[1] == 'u') {
                code = 0x10000 + ((code - 0xd800) << 10) + ((sigil_hex4(from + 2) - 0xdc00) & 0x3ff);
                from += 6;
            } else if (code >= 0xd800 && code < 0xe000) code = 0xfffd; /* half of a pair */
            to = sigil_put_utf8(to, code);
        } else {
            *to++ = kind == 'n' ? '\n' : kind == 't' ? '\t' : kind == 'r' ? '\r'
                  : kind == 'b' ? '\b' : kind == 'f' ? '\f' : kind;
        }
    }
    return (sigil_text){value.at, (uint32_t)(to - value.at)};
}

/* Return a whole number that isn't negative, or `otherwise` if the value is no such thing. */
static inline uint32_t sigil_json_number(sigil_text value, uint32_t otherwise) {
    uint32_t number = 0;
    if (!value.length || value.length > 9) return otherwise;
    for (uint32_t i = 0; i < value.length; i++) {
        if (value.at[i] < '0' || value.at[i] > '9') return otherwise;
        number = number * 10 + (uint32_t)(value.at[i] - '0');
    }
    return number;
}

/* ---- text out: a buffer that grows */

typedef struct {
    char *at;
    uint32_t length, room;
} sigil_buffer;

static void sigil_put_byte(sigil_buffer *out, char byte) {
    if (out->length == out->room) {
        uint32_t room = out->room ? out->room * 2 : 256;
        char *larger = sigil_reserve(room);
        memcpy(larger, out->at, out->length);
        out->at = larger;
        out->room = room;
    }
    out->at[out->length++] = byte;
}

static void sigil_put_text(sigil_buffer *out, sigil_text text) {
    for (uint32_t i = 0; i < text.length; i++) sigil_put_byte(out, text.at[i]);
}

static void sigil_put(sigil_buffer *out, const char *zero_ended) {
    sigil_put_text(out, sigil_literal(zero_ended));
}

static inline void sigil_put_number(sigil_buffer *out, uint32_t number) {
    if (number >= 10) sigil_put_number(out, number / 10);
    sigil_put_byte(out, (char)('0' + number % 10));
}

/* With its quotes. */
static void sigil_put_json_string(sigil_buffer *out, sigil_text text) {
    static const char digits[] = "0123456789abcdef";
    sigil_put_byte(out, '"');
    for (uint32_t i = 0; i < text.length; i++) {
        char c = text.at[i];
        if (c == '"' || c == '\\') {
            sigil_put_byte(out, '\\');
            sigil_put_byte(out, c);
        } else if ((unsigned char)c < 0x20) {
            sigil_put(out, "\\u00");
            sigil_put_byte(out, digits[c >> 4]);
            sigil_put_byte(out, digits[c & 15]);
        } else sigil_put_byte(out, c);
    }
    sigil_put_byte(out, '"');
}

static inline sigil_text sigil_written(sigil_buffer out) {
    return (sigil_text){out.at, out.length};
}

/* ---- base64, in which JSON carries bytes */

static inline void sigil_put_base64(sigil_buffer *out, sigil_text bytes) {
    static const char digits[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (uint32_t i = 0; i < bytes.length; i += 3) {
        uint32_t left = bytes.length - i, three = 0;
        for (uint32_t k = 0; k < 3; k++)
            three = three << 8 | (k < left ? (unsigned char)bytes.at[i + k] : 0);
        sigil_put_byte(out, digits[three >> 18]);
        sigil_put_byte(out, digits[three >> 12 & 63]);
        sigil_put_byte(out, left > 1 ? digits[three >> 6 & 63] : '=');
        sigil_put_byte(out, left > 2 ? digits[three & 63] : '=');
    }
}

/* Where it stands, since it gets shorter. */
static inline sigil_text sigil_decode_base64(sigil_text text) {
    uint32_t bits = 0, have = 0, length = 0;
    for (uint32_t i = 0; i < text.length; i++) {
        char c = text.at[i];
        int digit = c >= 'A' && c <= 'Z' ? c - 'A'
                  : c >= 'a' && c <= 'z' ? c - 'a' + 26
                  : c >= '0' && c <= '9' ? c - '0' + 52
                  : c == '+' || c == '-' ? 62
                  : c == '/' || c == '_' ? 63 : -1;
        if (digit < 0) break; /* the padding */
        bits = bits << 6 | (uint32_t)digit;
        have += 6;
        if (have >= 8) {
            have -= 8;
            text.at[length++] = (char)(bits >> have);
        }
    }
    return (sigil_text){text.at, length};
}

/* ---- the host */

__attribute__((import_module("sigil"), import_name("host_call")))
int32_t sigil_host_call(int32_t op, const char *at, uint32_t length, char *out, uint32_t out_room);

__attribute__((import_module("sigil"), import_name("host_reply")))
int32_t sigil_host_reply(char *out, uint32_t out_room);

typedef struct {
    int32_t status; /* 0, or a sigil_refusal */
    sigil_text payload;
} sigil_answer;

static sigil_answer sigil_ask(enum sigil_host_op op, sigil_text request) {
    enum { FIRST_ROOM = 1024 };
    char *out = sigil_reserve(FIRST_ROOM);
    int32_t length = sigil_host_call(op, request.at, request.length, out, FIRST_ROOM);
    if (length > FIRST_ROOM) { /* the host kept it; fetch it into a place that is large enough */
        out = sigil_reserve((uint32_t)length);
        length = sigil_host_reply(out, (uint32_t)length);
    }
    if (length < 0) return (sigil_answer){length, {0}};
    return (sigil_answer){0, {out, (uint32_t)length}};
}

/* Give the caller a piece of text. Waits until it was taken. */
static void sigil_emit(sigil_text text) {
    uintptr_t mark = sigil_top;
    sigil_buffer chunk = {0};
    sigil_put(&chunk, "{\"text\":");
    sigil_put_json_string(&chunk, text);
    sigil_put_byte(&chunk, '}');
    sigil_host_call(SIGIL_HOST_EMIT, chunk.at, chunk.length, NULL, 0);
    sigil_top = mark;
}

/* Tell the caller that the call failed, and why. The last thing to do in it. */
static inline void sigil_fail(const char *why) {
    sigil_buffer chunk = {0};
    sigil_put(&chunk, "{\"error\":");
    sigil_put_json_string(&chunk, sigil_literal(why));
    sigil_put_byte(&chunk, '}');
    sigil_host_call(SIGIL_HOST_EMIT, chunk.at, chunk.length, NULL, 0);
}

static sigil_buffer sigil_capability_request(const char *capability, sigil_text session) {
    sigil_buffer request = {0};
    sigil_put(&request, "{\"capability\":");
    sigil_put_json_string(&request, sigil_literal(capability));
    sigil_put(&request, ",\"sessionId\":");
    sigil_put_json_string(&request, session);
    return request;
}

/* Have the host do something for whoever `session` stands for; payloads both ways are JSON. */
static inline sigil_answer sigil_call_host(
    const char *capability, sigil_text payload, sigil_text session) {
    sigil_buffer request = sigil_capability_request(capability, session);
    sigil_put(&request, ",\"payload\":\"");
    sigil_put_base64(&request, payload);
    sigil_put(&request, "\"}");
    sigil_answer answer = sigil_ask(SIGIL_HOST_CALL, sigil_written(request));
    if (answer.status == 0)
        answer.payload =
            sigil_decode_base64(sigil_json_string(sigil_json_get(answer.payload, "payload")));
    return answer;
}

/* Ask whether that would be allowed: `payload` is the reason, "ok" or why not. */
static inline sigil_answer sigil_check_host(const char *capability, sigil_text session) {
    sigil_buffer request = sigil_capability_request(capability, session);
    sigil_put_byte(&request, '}');
    sigil_answer answer = sigil_ask(SIGIL_HOST_CHECK, sigil_written(request));
    if (answer.status == 0)
        answer.payload = sigil_json_string(sigil_json_get(answer.payload, "reason"));
    return answer;
}

/* ---- what the host looks for */

sigil_text sigil_describe(void);
void sigil_execute(sigil_text tool, sigil_text arguments, sigil_text session);

/* The host asks for room for a request: the one before is done, so all memory is free again. */
__attribute__((export_name("sigil_alloc")))
void *sigil_alloc(uint32_t length) {
    sigil_top = 0;
    return sigil_try_reserve(length);
}

static inline uint64_t sigil_return(sigil_text text) {
    return (uint64_t)(uintptr_t)text.at << 32 | text.length;
}

__attribute__((export_name("sigil_call")))
uint64_t sigil_call(int32_t op, char *at, uint32_t length) {
    sigil_text request = {at, length};
    switch (op) {
    case SIGIL_GUEST_INIT:
        return sigil_return(sigil_literal("{\"ok\":true}"));
    case SIGIL_GUEST_HEALTH:
        return sigil_return(sigil_literal("{\"status\":\"HEALTH_STATUS_HEALTHY\"}"));
    case SIGIL_GUEST_SHUTDOWN:
        return sigil_return(sigil_literal("{\"clean\":true}"));
    case SIGIL_GUEST_DESCRIBE: {
        sigil_buffer answer = {0};
        sigil_put(&answer, "{\"tools\":");
        sigil_put_text(&answer, sigil_describe());
        sigil_put_byte(&answer, '}');
        return sigil_return(sigil_written(answer));
    }
    case SIGIL_GUEST_EXECUTE: {
        /* All are found before any is decoded. */
        sigil_text tool = sigil_json_get(request, "toolName");
        sigil_text arguments = sigil_json_get(request, "arguments");
        sigil_text session = sigil_json_get(request, "sessionId");
        sigil_execute(
            sigil_json_string(tool), sigil_json_string(arguments), sigil_json_string(session));
        return 0;
    }
    default:
        return 0;
    }
}

#endif
