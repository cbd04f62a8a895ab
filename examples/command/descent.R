# Gradient descent on (x - 2)^2 in R, without packages: continues from its checkpoint folder after an interruption.
#
#   fts enqueue --metric loss --trials 6 -- Rscript examples/command/descent.R {rate:0.01..0.9:log} {checkpoint_dir}
#   fts worker --until-empty
given <- commandArgs(trailingOnly = TRUE)
rate <- as.numeric(given[1])
kept <- file.path(given[2], "state.rds")
state <- if (file.exists(kept)) readRDS(kept) else list(step = 0, x = 10)
report <- file(Sys.getenv("FTS_REPORT"), open = "a")
while (state$step < 20) {
  state$x <- state$x - rate * 2 * (state$x - 2)
  cat(sprintf("{\"step\": %d, \"loss\": %.17g}\n", state$step, (state$x - 2)^2), file = report)
  flush(report) # report first,
  state$step <- state$step + 1
  saveRDS(state, paste0(kept, ".new"))
  file.rename(paste0(kept, ".new"), kept) # then save
}
