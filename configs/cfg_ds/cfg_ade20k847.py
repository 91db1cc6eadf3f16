# ADE20K full val: 847 classes, 2000 pictures, 16-bit labels.
_base_ = "../base_config.py"

model = dict(class_file="configs/cls_ade20k847.txt", comma_names=True, options=dict(scale=(2048, 448)))
test_dataloader = dict(
    dataset=dict(
        type="ADE20K847Dataset",
        data_root="ADE20K_2021_17_01",
        data_prefix=dict(img_path="images_detectron2/validation", seg_map_path="annotations_detectron2/validation"),
    )
)
test_evaluator = dict(ignore_index=65535)
