/* base/document.h - checking documents, which are JSON texts that the kernel keeps and mostly does not look into. */
#ifndef KEEL_BASE_DOCUMENT_H
#define KEEL_BASE_DOCUMENT_H

#include <keel/value.h>

/* Whether the text is one JSON value that can be read again, in UTF-8. */
bool keel_document_is_valid(struct keel_text text);

/* Checks an input, as keel_check_text does, and that it is JSON; a text without data is none, and passes. */
enum keel_code keel_check_document(struct keel_text text, const char *field, struct keel_error *err);

#endif
