# PASCAL Context full val: 459 classes, 16-bit labels.
_base_ = "../base_config.py"

model = dict(class_file="configs/cls_context459.txt", options=dict(scale=(2048, 448)))
test_dataloader = dict(
    dataset=dict(
        type="PascalContext459Dataset",
        data_root="VOCdevkit/VOC2010",
        data_prefix=dict(img_path="JPEGImages", seg_map_path="annotations_detectron2/pc459_val"),
        ann_file="ImageSets/SegmentationContext/val.txt",
    )
)
test_evaluator = dict(ignore_index=65535)
