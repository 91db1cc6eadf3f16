# PASCAL Context val: 59 classes and the background, 5105 pictures.
_base_ = "../base_config.py"

model = dict(class_file="configs/cls_context60.txt", options=dict(scale=(2016, 672), prob_thd=0.35))
test_dataloader = dict(
    dataset=dict(
        type="PascalContextDataset",
        data_root="VOCdevkit/VOC2010",
        data_prefix=dict(img_path="JPEGImages", seg_map_path="SegmentationClassContext"),
        ann_file="ImageSets/SegmentationContext/val.txt",
    )
)
