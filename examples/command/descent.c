/* The same in C: a program that prints its metric, which --regex finds; it starts again after an interruption.
 *
 *   cc -O1 -ffp-contract=off -o descent examples/command/descent.c -lm
 *   fts enqueue --metric loss --trials 6 --regex 'step=(?P<epoch>\d+) loss=(?P<loss>\S+)' -- ./descent {rate:0.01..0.9:log}
 *   fts worker --until-empty
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv) {
    double rate = argc > 1 ? atof(argv[1]) : 0.1, x = 10;
    for (int step = 0; step < 20; step++) {
        x -= rate * 2 * (x - 2);
        printf("step=%d loss=%.17g\n", step, pow(x - 2, 2));
        fflush(stdout);
    }
    return 0;
}
