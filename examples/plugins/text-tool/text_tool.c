/* Counts what is in a text, and finds lines in it. */
#include "../sigil.h"

/* Return how many bytes the character at `i` has; a stray byte is a character of its own. */
static uint32_t character_length(sigil_text text, uint32_t i) {
    unsigned char first = (unsigned char)text.at[i];
    uint32_t length = first < 0xc0 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
    return length <= text.length - i ? length : 1;
}

static bool is_letter(sigil_text text, uint32_t i) {
    char c = text.at[i];
    if ((unsigned char)c < 0x80)
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
               c == '\'';
    /* U+2000 to U+206F are spaces, dashes and quotation marks. The rest beyond ASCII counts as
     * letters: right for most scripts, and a table of Unicode would be larger than the whole. */
    return !(c == '\xe2' && i + 1 < text.length &&
             (text.at[i + 1] == '\x80' || text.at[i + 1] == '\x81'));
}

static char lower(char c) { return c >= 'A' && c <= 'Z' ? (char)(c | 32) : c; }

/* ---- how often each word occurs: a hash table with open addressing */

typedef struct {
    sigil_text word; /* where it first occurs in the text */
    uint32_t hash, count;
} slot;

typedef struct {
    slot *slots;
    uint32_t size, used; /* the size is a power of two */
} word_table;

static slot *find_slot(word_table *table, sigil_text word, uint32_t hash) {
    for (uint32_t i = hash & (table->size - 1);; i = (i + 1) & (table->size - 1)) {
        slot *here = &table->slots[i];
        if (!here->count) return here;
        if (here->hash != hash || here->word.length != word.length) continue;
        uint32_t k = 0;
        while (k < word.length && lower(here->word.at[k]) == lower(word.at[k])) k++;
        if (k == word.length) return here;
    }
}

static void make_table(word_table *table, uint32_t size) {
    table->size = size;
    table->slots = sigil_reserve(size * sizeof(slot));
    memset(table->slots, 0, size * sizeof(slot));
}

static void count_word(word_table *table, sigil_text word, uint32_t hash) {
    if (table->used * 2 >= table->size) {
        word_table larger = {.used = table->used};
        make_table(&larger, table->size * 2);
        for (uint32_t i = 0; i < table->size; i++)
            if (table->slots[i].count)
                *find_slot(&larger, table->slots[i].word, table->slots[i].hash) = table->slots[i];
        *table = larger;
    }
    slot *here = find_slot(table, word, hash);
    if (!here->count) {
        *here = (slot){word, hash, 0};
        table->used++;
    }
    here->count++;
}

/* ---- the tool `stats` */

static void emit_count(const char *name, uint32_t count) {
    sigil_buffer line = {0};
    sigil_put(&line, name);
    sigil_put(&line, ": ");
    sigil_put_number(&line, count);
    sigil_put_byte(&line, '\n');
    sigil_emit(sigil_written(line));
}

static void emit_word(slot *found) {
    sigil_buffer line = {0};
    sigil_put(&line, "  ");
    for (uint32_t i = 0; i < found->word.length; i++)
        sigil_put_byte(&line, lower(found->word.at[i]));
    sigil_put(&line, ": ");
    sigil_put_number(&line, found->count);
    sigil_put_byte(&line, '\n');
    sigil_emit(sigil_written(line));
}

static bool comes_first(slot *one, slot *other) {
    if (one->count != other->count) return one->count > other->count;
    return one->word.at < other->word.at; /* of two as frequent, the one that came first */
}

static void stats(sigil_text text, uint32_t top) {
    enum { LONGEST_WORD = 64 }; /* bytes; what is longer is data, and its beginning counts */
    uint32_t lines = 0, words = 0, characters = 0;
    word_table table = {0};
    make_table(&table, 4096);
    for (uint32_t i = 0; i < text.length;) {
        uint32_t start = i, length = 0, hash = 2166136261u; /* FNV-1a */
        while (i < text.length && is_letter(text, i)) {
            uint32_t next = i + character_length(text, i);
            characters++;
            if (next - start <= LONGEST_WORD) length = next - start;
            for (; i < next; i++)
                if (i < start + length) hash = (hash ^ (unsigned char)lower(text.at[i])) * 16777619u;
        }
        if (i > start) {
            words++;
            count_word(&table, (sigil_text){text.at + start, length}, hash);
        } else {
            lines += text.at[i] == '\n';
            characters++;
            i += character_length(text, i);
        }
    }
    if (text.length && text.at[text.length - 1] != '\n') lines++;
    emit_count("lines", lines);
    emit_count("words", words);
    emit_count("characters", characters);
    emit_count("different words", table.used);
    for (uint32_t rank = 0; rank < top && rank < table.used; rank++) {
        slot *best = NULL;
        for (slot *here = table.slots; here < table.slots + table.size; here++)
            if (here->count && (!best || comes_first(here, best))) best = here;
        emit_word(best);
        best->count = 0; /* nothing is looked up any more, so a hole in the table does no harm */
    }
}

/* ---- the tool `find` */

static bool holds(sigil_text line, sigil_text wanted) {
    for (uint32_t i = 0; i + wanted.length <= line.length; i++) {
        uint32_t k = 0;
        while (k < wanted.length && lower(line.at[i + k]) == lower(wanted.at[k])) k++;
        if (k == wanted.length) return true;
    }
    return false;
}

static void find(sigil_text text, sigil_text wanted) {
    enum { LONGEST_LINE = 500 }; /* some texts are one line of a megabyte */
    uint32_t number = 0, found = 0;
    for (uint32_t i = 0; i < text.length; i++) {
        sigil_text line = {text.at + i, 0};
        while (i < text.length && text.at[i] != '\n') i++, line.length++;
        number++;
        uint32_t shown = 0; /* whole characters, of which LONGEST_LINE bytes at most */
        if (!holds(line, wanted)) continue;
        uintptr_t mark = sigil_top;
        sigil_buffer out = {0};
        sigil_put_number(&out, number);
        sigil_put(&out, ": ");
        while (shown < line.length && shown + character_length(line, shown) <= LONGEST_LINE)
            shown += character_length(line, shown);
        sigil_put_text(&out, (sigil_text){line.at, shown});
        if (shown < line.length) sigil_put(&out, " ...");
        sigil_put_byte(&out, '\n');
        sigil_emit(sigil_written(out));
        sigil_top = mark;
        found++;
    }
    if (!found) sigil_emit(sigil_literal("no line holds it\n"));
}

/* ---- the plugin */

sigil_text sigil_describe(void) {
    return sigil_literal(
        "[{\"name\":\"stats\",\"description\":\"Counts lines, words and characters of a text, and"
        " names its most frequent words\",\"inputSchema\":{\"type\":\"object\",\"properties\":{"
        "\"text\":{\"type\":\"string\"},"
        "\"top\":{\"type\":\"integer\",\"minimum\":0,\"maximum\":100}},"
        "\"required\":[\"text\"],\"additionalProperties\":false}},"
        "{\"name\":\"find\",\"description\":\"Finds the lines of a text that hold some words,"
        " whatever their case\",\"inputSchema\":{\"type\":\"object\",\"properties\":{"
        "\"text\":{\"type\":\"string\"},\"wanted\":{\"type\":\"string\",\"minLength\":1}},"
        "\"required\":[\"text\",\"wanted\"],\"additionalProperties\":false}}]");
}

void sigil_execute(sigil_text tool, sigil_text arguments, sigil_text session) {
    (void)session; /* it asks its host for nothing */
    sigil_text text = sigil_json_get(arguments, "text");
    if (sigil_equal(tool, "stats")) {
        uint32_t top = sigil_json_number(sigil_json_get(arguments, "top"), 10);
        stats(sigil_json_string(text), top);
    } else if (sigil_equal(tool, "find")) {
        sigil_text wanted = sigil_json_string(sigil_json_get(arguments, "wanted"));
        find(sigil_json_string(text), wanted);
    } else sigil_fail("no such tool");
}
