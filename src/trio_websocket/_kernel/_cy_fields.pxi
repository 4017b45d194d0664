# The field lines of HTTP/1.1's heads: a part of `_cy.pyx`, the twin of `_py_fields`.


# A byte of a name, in lower case; 0 where it can't be one.
cdef uint8_t[256] _LOWER
for _letter in "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ":
    _LOWER[<int> ord(_letter)] = <uint8_t> ord(_letter.lower())


cdef inline bint _is_white(uint8_t byte) noexcept:
    return byte == c" " or byte == c"\t"


def read_fields(bytes head not None, Py_ssize_t start):
    cdef const uint8_t* at = <const uint8_t*> PyBytes_AS_STRING(head)
    cdef const uint8_t* end = at + PyBytes_GET_SIZE(head)
    cdef list fields = []
    if not 0 <= start <= PyBytes_GET_SIZE(head):
        return None
    at += start
    while True:
        if end - at >= 2 and at[0] == c"\r" and at[1] == c"\n":
            return tuple(fields) if end - at == 2 else None
        at = _read_field(at, end, fields)
        if at is NULL:
            return None


cdef const uint8_t* _read_field(const uint8_t* at, const uint8_t* end, list fields) except? NULL:
    # Where the line after this one begins; NULL if it is no plain field line.
    cdef const uint8_t* name = at
    cdef const uint8_t* value
    cdef const uint8_t* value_end
    while at < end and _LOWER[at[0]]:
        at += 1
    if at == name or at == end or at[0] != c":":
        return NULL
    cdef bytes lowered = PyBytes_FromStringAndSize(NULL, at - name)
    cdef uint8_t* to = <uint8_t*> PyBytes_AS_STRING(lowered)
    cdef Py_ssize_t i
    for i in range(at - name):
        to[i] = _LOWER[name[i]]
    at += 1
    value = at
    while at < end and (at[0] >= 0x20 and at[0] != 0x7F or at[0] == c"\t"):
        at += 1
    if end - at < 2 or at[0] != c"\r" or at[1] != c"\n":
        return NULL
    value_end = at
    while value < value_end and _is_white(value[0]):
        value += 1
    while value < value_end and _is_white((value_end - 1)[0]):
        value_end -= 1
    field = (
        COMMON_NAMES.get(lowered, lowered),
        PyBytes_FromStringAndSize(<const char*> value, value_end - value),
    )
    fields.append(COMMON_FIELDS.get(field, field))
    return at + 2
