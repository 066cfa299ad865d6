"""The test files that take longest: all begin first, as one alone at the end keeps a core idle."""

LONG = (
    "silence", "small_data_page", "many_gpus_page", "fine_tune_page", "demo_browser", "plugins",
    "forged_folders", "divided_weights", "ray_runs", "own_memory", "interrupted_images",
    "ranks", "resume", "demo_starting", "alert_delivery", "killed_shards", "search_page",
    "check_explainer", "overload", "serve_process", "benchmarking", "timelines", "service_api",
    "page_code", "demo_foreign", "precision", "cli", "review_page", "exported_files",
    "cross_validation", "demo_framing", "evaluation_page", "deployment_starts",
)  # fmt: skip
