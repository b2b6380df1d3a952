#include "model/loss/value.h"

void dm_value_gae(const double *reward, const double *value, size_t n, double discount, double lambda,
                  double *advantage)
{
    double next = 0, after = 0; /* value of the next state, advantage of the next step */

    for (size_t t = n; t-- > 0;) {
        const double error = reward[t] + discount * next - value[t];
        after = error + discount * lambda * after;
        advantage[t] = after;
        next = value[t];
    }
}

double dm_value_loss(double value, double old, double target, double clip, double *slope)
{
    const double error = value - target, free = error * error / 2;

    *slope = error;
    if (!(clip > 0) || (value >= old - clip && value <= old + clip))
        return free;
    const double kept = (value < old ? old - clip : old + clip) - target, bound = kept * kept / 2;
    if (bound > free) /* a constant */
        *slope = 0;
    return bound > free ? bound : free;
}
