#ifndef DM_TESTS_SUPPORT_SAFETENSORS_VECTOR_H
#define DM_TESTS_SUPPORT_SAFETENSORS_VECTOR_H

/* Written by Python's safetensors 0.8.0 (torch.save_file):
 *   save_file({"a": tensor([[1.5,-2,3.25]]), "b": tensor([1,-0.5,65504,2**-24,2**-14], float16),
 *              "c": tensor([1,-3.140625,1e38], bfloat16), "d": tensor([0.1], float64), "e": tensor([-5,2**40]),
 *              "f": tensor([7,-8], int32), "g": tensor([200], uint8), "h": tensor(2.5), "i": zeros(0,4),
 *              "j": tensor([1,2], int8)}, "x.safetensors", {"format":"pt","note":"n\u00e9"}) */
#define SAFETENSORS_VECTOR 675 /* bytes */
extern const unsigned char safetensors_vector[SAFETENSORS_VECTOR];

#endif
