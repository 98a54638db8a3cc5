/* A PKCS#11 module around another one, with CKM_RSA_AES_KEY_WRAP (PKCS#11 v3.1, 6.1.16) in the place of AES-KWP.
 *
 * No free token of Debian's has this mechanism. Here NSS does the cryptography; only the mechanism's form is ours. */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef unsigned long U;
typedef struct { U type; void *value; U length; } Attribute;
typedef struct { U mechanism; void *parameter; U length; } Mechanism;
typedef struct { U aes_key_bits; void *oaep; } RsaAes;
typedef U (*Function)();
typedef struct { unsigned char version[2]; Function calls[68]; } Functions;

enum { GET_MECHANISM_LIST = 7, GET_MECHANISM_INFO = 8, DESTROY_OBJECT = 22, GENERATE_KEY = 58, WRAP_KEY = 60 };
enum { RSA_OAEP = 9, RSA_AES = 0x1054, AES_KEY_GEN = 0x1080, AES_KW_PAD = 0x210a, AES_KWP = 0x210b };
enum { INVALID_MECHANISM = 0x70, INVALID_PARAMETER = 0x71, OAEP_LENGTH = 5 * sizeof(U) };

static Functions *inner, ours;

static U mechanism_info(U slot, U type, void *info) {
    return inner->calls[GET_MECHANISM_INFO](slot, type == RSA_AES ? RSA_OAEP : type, info);
}

static U mechanism_list(U slot, U *list, U *count) {
    U result = inner->calls[GET_MECHANISM_LIST](slot, list, count);
    for (U at = 0; result == 0 && list != NULL && at < *count; at++)
        if (list[at] == AES_KWP || list[at] == AES_KW_PAD) list[at] = RSA_AES;
    return result;
}

static U wrap_key(U session, Mechanism *mechanism, U under, U key, unsigned char *out, U *length) {
    if (mechanism->mechanism == AES_KWP || mechanism->mechanism == AES_KW_PAD) return INVALID_MECHANISM;
    if (mechanism->mechanism != RSA_AES) return inner->calls[WRAP_KEY](session, mechanism, under, key, out, length);
    RsaAes *wanted = mechanism->parameter;
    if (mechanism->length != sizeof *wanted || wanted->aes_key_bits != 256 || out == NULL) return INVALID_PARAMETER;
    unsigned char yes = 1;
    U aes, size = wanted->aes_key_bits / 8, first = *length, second;
    Attribute template[] = {{0x161, &size, sizeof size}, {0x162, &yes, 1}, {0x106, &yes, 1}};
    Mechanism generate = {AES_KEY_GEN, NULL, 0}, oaep = {RSA_OAEP, wanted->oaep, OAEP_LENGTH}, kwp = {AES_KWP, NULL, 0};
    U result = inner->calls[GENERATE_KEY](session, &generate, template, (U)3, &aes);
    if (result != 0) return result;
    result = inner->calls[WRAP_KEY](session, &oaep, under, aes, out, &first);
    second = *length - first;
    if (result == 0) result = inner->calls[WRAP_KEY](session, &kwp, aes, key, out + first, &second);
    if (result == 0) *length = first + second;
    inner->calls[DESTROY_OBJECT](session, aes);
    return result;
}

U C_GetFunctionList(Functions **list) {
    puts("{\"code\": \"vendors' libraries print\"}"); /* it must not pass for an answer */
    fflush(stdout);
    U (*get)(Functions **) = dlsym(dlopen(INNER, RTLD_NOW), "C_GetFunctionList");
    U result = get(&inner);
    ours = *inner;
    ours.calls[GET_MECHANISM_LIST] = (Function)mechanism_list;
    ours.calls[GET_MECHANISM_INFO] = (Function)mechanism_info;
    ours.calls[WRAP_KEY] = (Function)wrap_key;
    *list = &ours;
    return result;
}
