# What all data sets share. Every default of the method is in textregion/options.py: a config names only what its
# data set changes. `data_root` in a data set's config is a folder below the data root (--data-root, TEXTREGION_DATA
# or eval/datasets).
custom_imports = dict(imports=["eval.semantic.model", "eval.semantic.datasets"])
default_scope = "mmseg"

model = dict(type="TextRegionSegmentor", options=dict())

test_dataloader = dict(
    batch_size=1,
    num_workers=0,
    # Without rounding up, no picture is given to two processes.
    sampler=dict(type="DefaultSampler", shuffle=False, round_up=False),
    dataset=dict(
        test_mode=True,
        pipeline=[dict(type="LoadPicture"), dict(type="LoadLabels"), dict(type="PackSegInputs")],
    ),
)
test_cfg = dict(type="TestLoop")
test_evaluator = dict(type="IoUMetric", iou_metrics=["mIoU"])

# The evaluation shows its own progress; nothing is trained, so that no hook has anything to do.
default_hooks = dict.fromkeys(("runtime_info", "timer", "sampler_seed", "logger", "param_scheduler", "checkpoint"))
visualizer = dict(type="Visualizer", vis_backends=[])
log_level = "WARNING"
env_cfg = dict(dist_cfg=dict(backend="nccl", timeout=86400))
